"""launch/gke.sh and launch/gke_jobset.yaml: the manifest and the environment of its pods."""

import re
from pathlib import Path

import pytest
import yaml
from kubeflow_trainer_api.models.jobset_v1alpha2_job_set import JobsetV1alpha2JobSet

ROOT = Path(__file__).parent.parent.parent
TEMPLATE = ROOT / "launch/gke_jobset.yaml"
RUN = ["run", "city", "--image=registry/fcnjax:1", "--claim=shared"]
TRAIN = ["--config=a", "--workdir=/mnt/fcnjax/b"]
TPU, GPU = "--topology=v5e:4x4", "--gpu=nvidia-h100-80gb:8"


@pytest.fixture
def gke(project):
    project.stand_in("kubectl")

    def run(*words, **environment):
        return project.launch("gke.sh", *words, **environment)

    return run


@pytest.fixture
def manifest(gke):
    def make(*words):
        done = gke(*RUN, *words)
        assert done.returncode == 0, done.stderr
        (call,) = done.calls
        assert call["words"] == ["apply", "-f", "-"]
        return yaml.safe_load(call["stdin"])

    return make


def pod_of(manifest):
    (jobs,) = manifest["spec"]["replicatedJobs"]
    return jobs["template"]["spec"]["template"]["spec"]


def expand(text, values):
    """Expand $(NAME) and $$ as Kubernetes does in arguments and variables."""
    return re.sub(
        r"\$(\$|\((\w+)\))",
        lambda match: "$" if match[1] == "$" else values.get(match[2], match[0]),
        text,
    )


def environment_of(container, labels, annotations):
    values = {}
    for entry in container["env"]:
        if "value" in entry:
            values[entry["name"]] = expand(entry["value"], values)
            continue
        path = entry["valueFrom"]["fieldRef"]["fieldPath"]
        kind, key = re.fullmatch(r"metadata\.(labels|annotations)\['(.*)'\]", path).groups()
        values[entry["name"]] = (labels if kind == "labels" else annotations)[key]
    return values


def test_script_fills_in_all_of_the_template(manifest):
    names = set(re.findall(r"__[A-Z_]+__", TEMPLATE.read_text())) - {"__CAPITALS__"}
    assert yaml.safe_load(TEMPLATE.read_text())["kind"] == "JobSet"
    filled = manifest(TPU, *TRAIN)
    assert len(names) > 8
    assert not names & set(re.findall(r"__[A-Z_]+__", str(filled)))


@pytest.mark.parametrize("options", [[TPU], [GPU], [GPU, "--replicas=3"], [TPU, "--spot"]])
def test_manifest_matches_the_published_schema(manifest, options):
    """Models of the Kubeflow trainer are generated from the schemas of JobSet and Kubernetes."""
    found = manifest(*options, *TRAIN)
    # A model drops the keys that it does not know.
    assert JobsetV1alpha2JobSet.from_dict(found).to_dict() == found


def test_schema_check_detects_a_wrong_key_and_a_wrong_type(manifest):
    found = manifest(TPU, *TRAIN)
    found["spec"]["failurePolicy"]["maxRestart"] = 1
    assert JobsetV1alpha2JobSet.from_dict(found).to_dict() != found
    del found["spec"]["failurePolicy"]["maxRestart"]
    found["spec"]["failurePolicy"]["maxRestarts"] = "1"
    with pytest.raises(ValueError, match="maxRestarts"):
        JobsetV1alpha2JobSet.from_dict(found)


@pytest.mark.parametrize("options", [[TPU], [GPU, "--replicas=2", "--spot"]])
def test_dry_run_prints_equivalent_commands(gke, project, odd, options):
    words = [*RUN, *options, "--namespace=mine", *odd]
    dry = gke(*words, "--dry-run")
    assert (dry.returncode, dry.stderr, dry.calls) == (0, "", [])
    pasted = project.paste(dry.stdout)
    assert pasted.returncode == 0, pasted.stderr
    assert pasted.calls == gke(*words).calls
    assert pasted.calls[0]["words"][0] == "--namespace=mine"


def test_arguments_arrive_unchanged(manifest, odd):
    words = [*odd, "--x=$(JOBSET)", "--y=$$", "--z=a\\b\t&"]
    (container,) = pod_of(manifest(GPU, "--replicas=2", *words))["containers"]
    assert container["command"] == ["fcnjax", "train"]
    assert [expand(word, {"JOBSET": "city"}) for word in container["args"]] == words


@pytest.mark.parametrize(
    ("topology", "label", "hosts", "chips"),
    [
        ("v5e:1x1", "tpu-v5-lite-podslice", 1, "1"),
        ("v5e:2x4", "tpu-v5-lite-podslice", 1, "8"),
        ("v5e:4x4", "tpu-v5-lite-podslice", 4, "4"),
        ("v6e:16x16", "tpu-v6e-slice", 64, "4"),
        ("v5p:2x2x1", "tpu-v5p-slice", 1, "4"),
        ("v4:2x2x4", "tpu-v4-podslice", 4, "4"),
    ],
)
def test_tpu_slices(manifest, topology, label, hosts, chips):
    found = manifest(f"--topology={topology}", "--replicas=2", *TRAIN)
    (jobs,) = found["spec"]["replicatedJobs"]
    assert jobs["replicas"] == 2
    assert jobs["template"]["spec"]["parallelism"] == hosts
    assert jobs["template"]["spec"]["completions"] == hosts
    pod = pod_of(found)
    assert pod["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": label,
        "cloud.google.com/gke-tpu-topology": topology.partition(":")[2],
    }
    assert pod["containers"][0]["resources"]["limits"] == {"google.com/tpu": chips}
    # The processes find each other by variables that GKE sets.
    assert pod["containers"][0]["env"] == [{"name": "FCNJAX_COORDINATOR", "value": "auto"}]
    assert "alpha.jobset.sigs.k8s.io/exclusive-topology" in found["metadata"]["annotations"]


def test_single_tpu_host_needs_no_coordinator(manifest):
    assert pod_of(manifest("--topology=v5e:2x4", *TRAIN))["containers"][0]["env"] == []


def test_chips_per_host(manifest):
    found = manifest("--topology=v5e:2x4", "--chips-per-host=4", *TRAIN)
    (jobs,) = found["spec"]["replicatedJobs"]
    assert jobs["template"]["spec"]["parallelism"] == 2


def test_gpu_processes_get_their_index(manifest):
    found = manifest(GPU, "--replicas=3", *TRAIN)
    (jobs,) = found["spec"]["replicatedJobs"]
    assert (jobs["name"], jobs["replicas"]) == ("host", 1)
    assert jobs["template"]["spec"]["parallelism"] == 3
    assert jobs["template"]["spec"]["completionMode"] == "Indexed"
    assert found["spec"]["network"]["enableDNSHostnames"]
    (container,) = pod_of(found)["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    for index in range(3):
        # The labels that JobSet and Kubernetes give to the pod city-host-0-INDEX.
        environment = environment_of(
            container,
            {"jobset.sigs.k8s.io/jobset-name": "city"},
            {"batch.kubernetes.io/job-completion-index": str(index)},
        )
        del environment["JOBSET"]
        assert environment == {
            "FCNJAX_COORDINATOR": "city-host-0-0.city:55527",
            "FCNJAX_PROCESSES": "3",
            "FCNJAX_PROCESS": str(index),
        }
    # A single process needs no variables.
    assert pod_of(manifest(GPU, *TRAIN))["containers"][0]["env"] == []


def test_failures_restart_and_user_errors_end_the_jobset(manifest):
    found = manifest(TPU, "--restarts=7", *TRAIN)
    policy = found["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 7
    (rule,) = policy["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    job = found["spec"]["replicatedJobs"][0]["template"]["spec"]
    assert job["backoffLimit"] == 0
    (rule,) = job["podFailurePolicy"]["rules"]
    pod = pod_of(found)
    assert pod["restartPolicy"] == "Never"  # required by podFailurePolicy
    assert rule["onExitCodes"]["values"] == [2]
    assert rule["onExitCodes"]["containerName"] == pod["containers"][0]["name"]
    assert pod["terminationGracePeriodSeconds"] == 120
    # The workdir is on the claim and outlives the pod.
    mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mounts["/mnt/fcnjax"]]["persistentVolumeClaim"] == {"claimName": "shared"}


def test_spot(manifest):
    key = "cloud.google.com/gke-spot"
    pod = pod_of(manifest(TPU, "--spot", *TRAIN))
    assert pod["nodeSelector"][key] == "true"
    assert [toleration["key"] for toleration in pod["tolerations"]] == [key]
    pod = pod_of(manifest(TPU, *TRAIN))
    assert key not in pod["nodeSelector"]
    assert pod["tolerations"] == []


def test_logs_status_and_delete(gke, project):
    for command, verbs in (("logs", ["logs"]), ("status", ["get", "get"]), ("delete", ["delete"])):
        done = gke(command, "city", "--namespace=mine")
        assert [call["words"][1] for call in done.calls] == verbs
        assert all(call["words"][0] == "--namespace=mine" for call in done.calls)
        dry = gke(command, "city", "--namespace=mine", "--dry-run")
        assert project.paste(dry.stdout).calls == done.calls
    assert "gke.sh delete city" in gke(*RUN, TPU, *TRAIN).stderr


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "valid: run, logs"),
        (["start", "city"], "'start'"),
        (["run"], "NAME"),
        (["run", "City"], "'City'"),
        (["run", "a" * 41], "up to 40"),
        ([*RUN, TPU, "--config=a"], "--workdir"),
        ([*RUN, TPU, "--workdir=/mnt/fcnjax/b"], "--config"),
        ([*RUN, TPU, "--config=a", "--workdir=runs/b"], "/mnt/fcnjax"),
        (["run", "city", "--claim=c", TPU, *TRAIN], "--image"),
        (["run", "city", "--image=i", TPU, *TRAIN], "--claim"),
        ([*RUN, *TRAIN], "--topology"),
        ([*RUN, TPU, GPU, *TRAIN], "one of them"),
        ([*RUN, "--topology=4x4", *TRAIN], "'4x4'"),
        ([*RUN, "--topology=v9:4x4", *TRAIN], "valid: v4, v5e"),
        ([*RUN, "--gpu=nvidia-l4", *TRAIN], "'nvidia-l4'"),
        ([*RUN, TPU, "--chips-per-host=3", *TRAIN], "does not divide"),
        ([*RUN, TPU, "--replicas=0", *TRAIN], "--replicas"),
        ([*RUN, TPU, "--restarts=x", *TRAIN], "--restarts"),
        (["delete", "city", "--config=a"], "'--config=a'"),
    ],
)
def test_errors_are_one_line(gke, refused, words, part):
    refused(gke(*words), "gke: error", part)


def test_only_dry_run_works_without_kubectl(gke, project, refused):
    path = project.tools_only("bash", "sed", "dirname")
    refused(gke("delete", "city", PATH=path), "kubectl is not installed")
    assert gke(*RUN, TPU, *TRAIN, "--dry-run", PATH=path).returncode == 0
