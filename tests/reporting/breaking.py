"""A baseline that breaks down when its training is over."""

from aspire.baselines.erm import ERM


class BreakingERM(ERM):
    def run(self, ctx):
        net = super().run(ctx)
        if ctx.folder.name.split("-s")[1].startswith("1-"):
            raise RuntimeError("the disk is full")
        return net
