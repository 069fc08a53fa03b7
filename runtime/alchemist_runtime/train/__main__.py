"""`accelerate launch … --module alchemist_runtime.train`: one process of a training."""

from alchemist_runtime.train.trainer import leave, main

leave(main())
