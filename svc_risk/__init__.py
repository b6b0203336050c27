"""The risk engine: how much of a recommendation the account can bear, and the ticket without which no order is sent."""
