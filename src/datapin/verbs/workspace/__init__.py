"""The place that every verb works in: names, selectors, locks, reports."""
