"""What a campaign on real models is made of: its power, a bank of samples, the design drawn from it, packed rows."""
