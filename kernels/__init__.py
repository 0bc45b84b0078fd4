"""Arrays in, arrays out: splatting, ray casting, neighbours; and the bridge between torch and Warp."""
