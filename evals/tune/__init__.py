"""Settings found on a calibration split."""
