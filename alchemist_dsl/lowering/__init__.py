"""From blocks of the checked program to specs of the plan, one small function a kind."""
