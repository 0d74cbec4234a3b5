"""What the pages say, held against the code: passages that are generated, walks that are traced, skeletons that run."""
