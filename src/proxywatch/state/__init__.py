"""What is concluded from records over time: pure, bounded, handed its clock."""
