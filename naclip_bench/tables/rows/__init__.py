"""What each row of the tables stands for, one file a paper."""
