"""What two real Envoys add to a call between two services, as a mesh would place them."""
