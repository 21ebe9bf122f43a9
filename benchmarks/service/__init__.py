"""What the service does here: accepting, expanding, listing, claiming. Run with `styleflow bench service`."""
