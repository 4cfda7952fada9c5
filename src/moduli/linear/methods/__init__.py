"""The methods, one file each: what they minimise, and by which solver."""
