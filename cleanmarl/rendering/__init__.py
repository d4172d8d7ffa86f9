"""Videos of any environment, and pictures of Level-Based Foraging."""
