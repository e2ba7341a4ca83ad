import math
import time

from crate_transformer.training.metrics import MetricsLog, metrics_csv, read_metrics


def steps_of(folder):
    return [record["step"] for record in read_metrics(folder / "metrics.jsonl")]


def test_metrics_go_on_after_the_step_that_a_run_resumes_at(tmp_path):
    log = MetricsLog(tmp_path, 0)
    for step in (1, 2, 3):
        log.write(step=step, loss=1 / step, seconds=10.0 * step)
    (tmp_path / "metrics.jsonl").write_text((tmp_path / "metrics.jsonl").read_text() + '{"step": 4, ')
    resumed = MetricsLog(tmp_path, 2)
    assert (resumed.earlier_seconds, resumed.loss) == (20.0, 0.5)
    resumed.write(step=3, loss=0.0)
    assert steps_of(tmp_path) == [1, 2, 3]
    MetricsLog(tmp_path, 3, writing=False).write(step=4)
    assert steps_of(tmp_path) == [1, 2, 3]
    anew = MetricsLog(tmp_path, 0)
    assert math.isnan(anew.loss) and steps_of(tmp_path) == [1, 2, 3]  # until there is something to tell
    anew.write(step=1, loss=0.0)
    assert steps_of(tmp_path) == [1]


def test_the_table_has_a_column_for_every_name():
    records = [{"step": 1, "loss": 0.5}, {"step": 2, "top1": 0.25, "seconds": 3.0}]
    assert metrics_csv(records) == b"step,loss,top1,seconds\n1,0.5,,\n2,,0.25,3.0\n"


def test_time_for_evaluating_does_not_slow_the_steps_after_it(run, tmp_path):
    """Two steps of eight tiny pictures take far less than the second that the evaluation before them takes."""

    def validate(_model):
        time.sleep(1.0)
        return {"top1": 0.5}

    run(tmp_path, steps=4, evaluate_every=2, log_every=2, options={"validate": validate})
    speeds = [record["images_per_second"] for record in read_metrics(tmp_path / "metrics.jsonl") if "loss" in record]
    assert len(speeds) == 2 and speeds[1] > 2 * 8 / 0.9
