"""`dermabatch train` as a person types it."""

from tests.painted_lesions import write_metadata


def test_training_ends_with_the_model_and_its_figure(typed, dataset, tmp_path):
    code, output, errors = typed(
        *("train", dataset, "--out", tmp_path, "--weights", "none", "--epochs", 2),
        *("--network", "baseline_cnn", "--input-size", 32),
    )

    assert code == 0
    assert f"{tmp_path / 'model'}: model " in output
    assert "BMA" in output
    assert "epoch 2: loss" in errors
    assert (tmp_path / "model" / "manifest.json").is_file()


def test_wrong_data_ends_with_exit_code_2_and_no_artifact(typed, tmp_path):
    write_metadata(tmp_path, [{"lesion_id": "HAM_1", "image_id": "ISIC_1", "dx": "scc"}])

    code, output, errors = typed("train", tmp_path, "--out", tmp_path / "run")

    assert code == 2
    assert output == ""
    assert "unknown class (1): scc (HAM10000_metadata.csv, line 2)" in errors
    assert not (tmp_path / "run" / "model").exists()
