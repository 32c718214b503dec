"""What ``arnet infer`` writes: masks, drawings, figures, results as JSON and COCO, and where."""
