"""Training of the bundled RETRO model: data, model, training loop and ONNX export."""

import os

# Before PyTorch loads OpenMP: threads that wait must sleep. On a machine with other work, spinning at barriers cost more
# than half of the processor time of a training step.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
