"""Fine-tuning detectron2 from a backbone file and scoring it: settings, training, loading, evaluation."""

# what a fine-tuning leaves in a run's folder
CURVE = "detection.jsonl"  # detectron2's JSON lines
LOG = "detection.log"
CONFIG = "detection.yaml"  # every resolved setting of detectron2
CHECKPOINT = "detection-checkpoint.pth"

TASKS = {"bbox": "", "segm": "mask_"}  # task of COCO's evaluation: how our names of its scores begin
