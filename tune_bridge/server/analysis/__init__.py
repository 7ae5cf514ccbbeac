"""What a sweep has shown: which parameters matter, how it got there, what early stopping did."""
