"""What the Web API and the dashboard share: where requests come from, how often, and databases from the loop's side."""
