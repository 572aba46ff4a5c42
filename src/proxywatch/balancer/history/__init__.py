"""What was measured over the last day, and what follows from it: trends, forecasts, reports."""
