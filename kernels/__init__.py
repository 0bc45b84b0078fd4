"""Arrays in, arrays out: splatting, volume rendering along rays, gathering from maps, advection, ray casting, neighbours;
and the bridge between torch, Warp and Taichi."""
