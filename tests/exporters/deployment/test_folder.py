"""The deployment folder: what is in it, and what it refuses."""

import json
import os
import re
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pixel_mm import cli, export
from pixel_mm.exporters.deployment.folder import write_deployment
from pixel_mm.exporters.deployment.options import DeploymentError
from pixel_mm.model_folder import ModelFolderError
from tests.exporters.deployment.deployments import add_deployable, options, write_manifest

FILES = {
    "README.md",
    "compose.yaml",
    "grafana/dashboards/triton.json",
    "grafana/provisioning/dashboards/files.yml",
    "grafana/provisioning/datasources/prometheus.yml",
    "health.sh",
    "models.txt",
    "monitor.sh",
    "prometheus/prometheus.yml",
    "prometheus/rules.yml",
    "request.py",
    "start.sh",
}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def check_compose(content: Any) -> None:
    """Refuse what the compose specification refuses."""
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(content, json.loads(schema.read_text(encoding="utf-8")))


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setattr("sys.argv", ["export", *arguments])
    cli.run(export.main, config_name="export")


def test_the_command_writes_it(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new"
    call(monkeypatch, "target=deployment", f"repository={repository}", f"output={output}", "deployment.gpus=1")
    assert f"deployment folder: {output}" in capsys.readouterr().out
    assert "deploy" in load(output / "compose.yaml")["services"]["triton"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["repository=nowhere", "output=new"], "no Triton repository"),
        (["output=new"], "repository: there is no default"),
        (["repository=nowhere", "output=new", "run=somewhere"], "run"),
        (["repository=nowhere", "output=new", "deployment.gpus=-1"], "deployment.gpus=-1 is negative"),
    ],
)
def test_a_wrong_command_is_a_users_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        call(monkeypatch, "target=deployment", *arguments)
    assert left.value.code == cli.USER_ERROR
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_it_has_what_the_guide_tells_of(deployment: Path) -> None:
    found = {path.relative_to(deployment).as_posix() for path in deployment.rglob("*") if path.is_file()}
    assert found == FILES


def test_containers_may_read_all_of_it_whatever_the_mask(tmp_path: Path, repository: Path) -> None:
    mask = os.umask(0o077)
    try:
        folder = write_deployment(repository, tmp_path / "masked", options())
    finally:
        os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        runs = path.is_dir() or path.name in {"start.sh", "health.sh", "monitor.sh", "request.py"}
        assert path.stat().st_mode & 0o777 == (0o755 if runs else 0o644), path


@pytest.mark.parametrize("gpus", [0, 2])
def test_the_compose_file_follows_the_specification(tmp_path: Path, repository: Path, gpus: int) -> None:
    content = load(write_deployment(repository, tmp_path / "new", options(gpus=gpus)) / "compose.yaml")
    check_compose(content)
    assert ("deploy" in content["services"]["triton"]) == (gpus > 0)


@pytest.mark.parametrize(
    ("service", "key", "value"), [("triton", "comand", []), ("grafana", "ports", "3000"), ("prometheus", "image", 1)]
)
def test_the_specification_is_strict(deployment: Path, service: str, key: str, value: object) -> None:
    content = load(deployment / "compose.yaml")
    content["services"][service][key] = value
    with pytest.raises(jsonschema.ValidationError):
        check_compose(content)


def test_what_is_mounted_exists_and_the_repository_is_found(deployment: Path, repository: Path) -> None:
    services = load(deployment / "compose.yaml")["services"]
    mounts = [mount for service in services.values() for mount in service["volumes"]]
    for mount in mounts:
        if isinstance(mount, str) and mount.startswith("."):
            assert (deployment / mount.split(":")[0]).is_dir(), mount
    source = re.fullmatch(r"\$\{MODEL_REPOSITORY:-(.+)\}", mounts[0]["source"])
    assert source is not None
    assert (deployment / source[1]).resolve() == repository.resolve()
    named = {mount.split(":")[0] for mount in mounts if isinstance(mount, str) and not mount.startswith(".")}
    assert named == set(load(deployment / "compose.yaml")["volumes"])


def test_only_this_machine_reaches_it_and_no_file_has_a_password(deployment: Path) -> None:
    services = load(deployment / "compose.yaml")["services"]
    ports = [port for service in services.values() for port in service["ports"]]
    assert ports
    assert all(port.startswith("${BIND_ADDRESS:-127.0.0.1}:") for port in ports)
    passwords = [
        line for path in deployment.rglob("*.y*ml") for line in path.read_text().splitlines() if "PASS" in line
    ]
    assert len(passwords) == 1
    assert "${GRAFANA_ADMIN_PASSWORD:?" in passwords[0]


def test_panels_have_numbers_of_their_own_and_do_not_overlap(tmp_path: Path, repository: Path) -> None:
    folder = write_deployment(repository, tmp_path / "new", options(gpus=1))
    panels = json.loads((folder / "grafana/dashboards/triton.json").read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) == 10
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    source = load(folder / "grafana/provisioning/datasources/prometheus.yml")["datasources"][0]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}


def test_every_model_of_the_repository_is_in_it(tmp_path: Path, repository: Path, tiny_model_folder: Path) -> None:
    add_deployable(repository, tiny_model_folder, "other")
    folder = write_deployment(repository, tmp_path / "new", options())
    assert (folder / "models.txt").read_text() == "emotion\nother\n"
    command = load(folder / "compose.yaml")["services"]["triton"]["command"]
    assert {"--load-model=emotion", "--load-model=other"} <= set(command)
    rules = load(folder / "prometheus" / "rules.yml")["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules].count("TritonModelMissing") == 2
    guide = (folder / "README.md").read_text(encoding="utf-8")
    assert "| emotion | 1 | no | 2026-11-01T12:00:00+00:00 | run_1 | 0123456789ab | model.onnx 111111111111 |" in guide
    assert "# Calling `other`" in guide
    assert "test/ccc_arousal 0.5" in guide
    assert "$" not in re.sub(r"```.*?```", "", guide, flags=re.DOTALL)


def test_scripts_are_bash(deployment: Path) -> None:
    scripts = sorted(deployment.glob("*.sh"))
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["bash", "-n", script], check=True)


def test_an_existing_folder_stays_unless_it_may_be_replaced(deployment: Path, repository: Path) -> None:
    with pytest.raises(DeploymentError, match="overwrite=true"):
        write_deployment(repository, deployment, options())
    (deployment / "start.sh").write_text("changed")
    (deployment / ".env").write_text("BIND_ADDRESS=10.0.0.1\n")
    write_deployment(repository, deployment, options(), overwrite=True)
    assert (deployment / "start.sh").read_text().startswith("#!")
    assert (deployment / ".env").read_text() == "BIND_ADDRESS=10.0.0.1\n"  # the operator's own


def test_what_is_no_deployment_folder_is_never_replaced(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").touch()
    (tmp_path / "file").touch()
    with pytest.raises(DeploymentError, match="no deployment folder"):
        write_deployment(repository, tmp_path / "home", options(), overwrite=True)
    with pytest.raises(DeploymentError, match="is a file"):
        write_deployment(repository, tmp_path / "file", options(), overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").exists()


@pytest.mark.parametrize("place", [".", "repository", "repository/deployment"])
def test_it_and_the_repository_are_apart(tmp_path: Path, repository: Path, place: str) -> None:
    with pytest.raises(DeploymentError, match="lie in one another"):
        write_deployment(repository, tmp_path / place, options(), overwrite=True)
    assert (repository / "emotion" / "config.pbtxt").exists()


def test_a_repository_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"no Triton repository.*target=triton"):
        write_deployment(tmp_path / "nothing", tmp_path / "new", options())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no readable manifest"),
        ("[]", "no readable manifest"),
        ('{"versions": {"1": {}}}', "served"),
        ('{"versions": {"one": {}}, "served": [1]}', "no readable manifest"),
        ('{"versions": {"1": {}}, "served": []}', "serves no version"),
        ('{"versions": {"1": {}}, "served": [1, 3]}', r"serves \[3\]"),
    ],
)
def test_a_manifest_that_is_damaged_is_named(tmp_path: Path, repository: Path, content: str, message: str) -> None:
    (repository / "emotion" / "manifest.json").write_text(content)
    with pytest.raises(DeploymentError, match=message) as error:
        write_deployment(repository, tmp_path / "new", options())
    assert "emotion/manifest.json" in str(error.value)


def test_a_served_version_without_its_description_is_refused(tmp_path: Path, repository: Path) -> None:
    (repository / "emotion" / "2" / "model.yaml").unlink()
    with pytest.raises(ModelFolderError, match=r"2/model\.yaml"):
        write_deployment(repository, tmp_path / "new", options())


def test_a_configuration_that_is_damaged_is_named(tmp_path: Path, repository: Path) -> None:
    (repository / "emotion" / "config.pbtxt").write_text("max_batch_sise: 4")
    with pytest.raises(DeploymentError, match=r"emotion/config\.pbtxt.*max_batch_sise"):
        write_deployment(repository, tmp_path / "new", options())


def test_only_a_queue_with_an_end_can_be_full(tmp_path: Path, repository: Path, tiny_model_folder: Path) -> None:
    add_deployable(repository, tiny_model_folder, "endless")
    folder = write_deployment(repository, tmp_path / "new", options())
    rules = load(folder / "prometheus" / "rules.yml")["groups"][0]["rules"]
    (full,) = [rule["expr"] for rule in rules if rule["alert"] == "TritonQueueFull"]
    assert full == 'nv_inference_pending_request_count{job="triton",model="emotion"} >= 90'


def test_a_plan_without_a_processor_is_refused(tmp_path: Path, repository: Path) -> None:
    write_manifest(repository / "emotion", served=[1], file="model.plan")
    with pytest.raises(DeploymentError, match=r"emotion.*deployment\.gpus=1"):
        write_deployment(repository, tmp_path / "new", options())
    write_deployment(repository, tmp_path / "new", options(gpus=1))


def test_a_path_that_compose_would_not_understand_is_refused(tmp_path: Path, tiny_model_folder: Path) -> None:
    odd = add_deployable(tmp_path / "re${HOME}", tiny_model_folder).parent
    with pytest.raises(DeploymentError, match="compose files cannot name"):
        write_deployment(odd, tmp_path / "new", options())


@pytest.mark.parametrize("name", ['a"b', "a b", "$a"])
def test_a_name_that_scripts_would_not_understand_is_refused(
    tmp_path: Path, tiny_model_folder: Path, name: str
) -> None:
    add_deployable(tmp_path / "repository", tiny_model_folder, name)
    with pytest.raises(DeploymentError, match="name has letters"):
        write_deployment(tmp_path / "repository", tmp_path / "new", options())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triton_image": "registry:5000/tritonserver"}, "triton_image"),
        ({"grafana_image": "grafana/grafana:latest"}, "grafana_image"),
        ({"gpus": -1}, "gpus"),
        ({"failure_ratio": 0.0}, "failure_ratio"),
        ({"failure_ratio": 1.0}, "failure_ratio"),
        ({"queue_seconds": 0}, "queue_seconds"),
        ({"request_seconds": float("nan")}, "request_seconds"),
    ],
)
def test_options_that_make_no_sense_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DeploymentError, match=f"deployment.{message}="):
        options(**change)


def test_a_failure_in_between_leaves_nothing(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pixel_mm.exporters.deployment.folder._copy_scripts", full)
    with pytest.raises(OSError, match="No space"):
        write_deployment(repository, tmp_path / "new", options())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["repository"]
