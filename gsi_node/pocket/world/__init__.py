"""Problems of pocket math with exact answers, and their exact checkers."""
