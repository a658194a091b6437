"""One sentence for each goal that is missed, by the key of its row in table.py. Printed only while the goal is missed."""
REASONS = {}
