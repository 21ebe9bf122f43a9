"""What `test_schemathesis.py` gives to Schemathesis: its configuration and hooks."""
