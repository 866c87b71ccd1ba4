import harness

run = harness.open("location-s0")  # a run by its name, or the beginning of it
print(run.scores, run.settings["recipe"]["epochs"])
print(run.curve[["epoch", "loss", "rank"]].tail())  # a pandas DataFrame
first, second = run.views(0)  # two views of its first image, as the pre-training saw them
match = run.correspondence(first, second)
print(match)  # how many pairs, and the shapes of Q, K and W
print(match.pairs().head())  # which places agree, in pixels of the image, and how much
encoder = run.model  # the trained ResNet without its last layer, on the CPU
print(harness.table("A1")[["row", "paper_AP", "AP", "AP_std", "n"]])
