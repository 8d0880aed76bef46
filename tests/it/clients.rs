//! Clients that nobody here wrote, unmodified: the official Python client, kr8s, and an operator on
//! kopf. `.ci/run` installs them, in the versions that `tests/clients/requirements.txt` names, into
//! `target/clients`.

use super::support::{
    Cluster, Home, Kubectl, PATIENCE, TIMEOUT, any_kubectl, capable, eventually, skip, turn,
};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");

/// The folder with Python and the clients, if they are installed.
fn installed() -> Option<PathBuf> {
    let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/bin");
    let all = ["python", "kopf"].iter().all(|program| bin.join(program).is_file());
    if !all {
        skip(
            "the Python clients are not installed: python3 -m venv target/clients && target/clients/bin/pip install -r tests/clients/requirements.txt",
        );
    }
    all.then_some(bin)
}

fn command(cluster: &Cluster, program: PathBuf) -> Command {
    let mut command = cluster.home.command(program);
    command.env("KUBECONFIG", cluster.kubeconfig()).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(SCRIPTS);
    command
}

fn passes(cluster: &Cluster, bin: &Path, script: &str) {
    let output = command(cluster, bin.join("python")).arg(script).output().expect("Python runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("done"), "{script}:\n{out}\n{err}");
}

/// A process that ends with its test.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn clients_from_elsewhere_simply_work() {
    let (true, Some(bin)) = (capable(), installed()) else { return };
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&["--workers", "1"]);
    passes(&cluster, &bin, "official.py");

    let any = any_kubectl();
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    k(&["apply", "-f", &format!("{SCRIPTS}/garden.yaml")]).ok();
    k(&["wait", "--for=condition=Established", "crd/gardens.kopf.example.com", TIMEOUT]).ok();
    let log = home.path().join("operator.log");
    let file = std::fs::File::create(&log).expect("a log");
    let operator = command(&cluster, bin.join("kopf"))
        .args([
            "run",
            "gardener.py",
            "--all-namespaces",
            "--standalone",
            "--liveness=http://127.0.0.1:0/healthz",
        ])
        .stdout(Stdio::null())
        .stderr(file)
        .spawn()
        .expect("kopf runs");
    let operating = Operator(operator);
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually(PATIENCE, said, |said| said.contains("Initial authentication") || said.contains("Serving"));

    // The operator plants, replants, and lets go; what it planted goes with its garden.
    let garden = home.path().join("garden.yaml");
    let plant = |flowers: u32| {
        let text = format!(
            "apiVersion: kopf.example.com/v1\nkind: Garden\nmetadata: {{name: front}}\nspec: {{flowers: {flowers}}}\n"
        );
        std::fs::write(&garden, text).expect("a file");
        k(&["apply", "-f", garden.to_str().expect("a path")]).ok();
        let row = || k(&["get", "gardens", "front", "--no-headers"]).ok();
        let want = ["front".to_string(), flowers.to_string(), flowers.to_string()];
        eventually(PATIENCE, row, |row| row.split_whitespace().eq(&want));
    };
    plant(2);
    plant(3);
    let flowers = || k(&["get", "configmaps", "-o", "name"]).ok().matches("configmap/front-").count();
    assert_eq!(flowers(), 3, "{}", said());
    passes(&cluster, &bin, "short.py");
    k(&["delete", "garden", "front", TIMEOUT]).ok();
    assert!(said().contains("farewell front"), "{}", said());
    eventually(PATIENCE, flowers, |left| *left == 0);
    drop(operating);
    kube_rs(&cluster);
    every_kubectl(&cluster);
}

/// An operator on kube-rs' controller runtime: a bed is watered by a ConfigMap of its own, which it
/// owns.
mod water {
    use futures::StreamExt;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
    use kube::runtime::{Controller, controller::Action, watcher};
    use kube::{Client, ResourceExt};
    use serde_json::json;
    use std::sync::Arc;
    use std::time::Duration;

    pub(super) async fn operate(client: Client) {
        let gvk = GroupVersionKind::gvk("kopf.example.com", "v1", "Garden");
        let gardens = ApiResource::from_gvk(&gvk);
        let watched: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), &gardens);
        let owned: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let context = Arc::new((client, gardens.clone()));
        let only = watcher::Config::default().labels("by=kube-rs");
        Controller::new_with(watched, only, gardens)
            .owns(owned, watcher::Config::default())
            .run(reconcile, |_, _: &kube::Error, _| Action::requeue(Duration::from_millis(200)), context)
            .for_each(|_| async {})
            .await;
    }

    async fn reconcile(
        garden: Arc<DynamicObject>,
        context: Arc<(Client, ApiResource)>,
    ) -> Result<Action, kube::Error> {
        let (client, kind) = &*context;
        let (name, flowers) = (garden.name_any(), garden.data["spec"]["flowers"].clone());
        let owner = json!({"apiVersion": "kopf.example.com/v1", "kind": "Garden", "name": name, "uid": garden.uid(), "controller": true});
        let water = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-water"), "ownerReferences": [owner]},
            "data": {"litres": flowers.to_string()}});
        let params = PatchParams::apply("gardener").force();
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        maps.patch(&format!("{name}-water"), &params, &Patch::Apply(&water)).await?;
        let gardens: Api<DynamicObject> = Api::default_namespaced_with(client.clone(), kind);
        let status =
            json!({"apiVersion": "kopf.example.com/v1", "kind": "Garden", "status": {"planted": flowers}});
        gardens.patch_status(&name, &params, &Patch::Apply(&status)).await?;
        Ok(Action::await_change())
    }
}

fn kube_rs(cluster: &Cluster) {
    let any = any_kubectl();
    let k = |args: &[&str]| cluster.kubectl(&any, args);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let kubeconfig = kube::config::Kubeconfig::read_from(cluster.kubeconfig()).expect("a kubeconfig");
    let operator = runtime.spawn(async {
        let options = kube::config::KubeConfigOptions::default();
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("a configuration");
        water::operate(kube::Client::try_from(config).expect("a client")).await;
    });
    let file = cluster.home.path().join("bed.yaml");
    let text = "apiVersion: kopf.example.com/v1\nkind: Garden\nmetadata: {name: bed, labels: {by: kube-rs}}\nspec: {flowers: 7}\n";
    std::fs::write(&file, text).expect("a file");
    k(&["apply", "-f", file.to_str().expect("a path")]).ok();
    let planted = || k(&["get", "garden", "bed", "-o", "jsonpath={.status.planted}"]).ok();
    eventually(PATIENCE, planted, |p| p == "7");
    let water =
        || k(&["get", "configmap", "bed-water", "--ignore-not-found", "-o", "jsonpath={.data.litres}"]).ok();
    assert_eq!(water(), "7");
    // What is taken away comes back, and goes for good with its owner.
    k(&["delete", "configmap", "bed-water"]).ok();
    eventually(PATIENCE, water, |w| w == "7");
    operator.abort();
    k(&["delete", "garden", "bed"]).ok();
    eventually(PATIENCE, water, |w| w.is_empty());
}

/// What every kubectl can do, in words that have not changed since 1.27; `{}` is a name of its own.
const COMMON: &[&str] = &[
    "create configmap {} --from-literal=a=1",
    "apply -f {}.yaml",
    "apply -f {}.yaml",
    "apply --server-side -f {}.yaml --force-conflicts",
    "get garden {} --no-headers -o custom-columns=F:.spec.flowers,P:.status.planted",
    "patch garden {} --type=merge -p {\"spec\":{\"flowers\":5}}",
    "patch garden {} --subresource=status --type=merge -p {\"status\":{\"planted\":5}}",
    "wait garden/{} --for=jsonpath={.status.planted}=5",
    "explain garden.spec.flowers",
    "label garden {} a={}",
    "get gardens,configmaps -l a={} -o name",
    "run {} --image=nginx",
    "wait pod/{} --for=condition=Ready --timeout=180s",
    "exec {} -- echo hello",
    "create deployment {} --image=nginx",
    "scale deployment {} --replicas=2",
    "rollout status deployment {}",
    "auth can-i delete pods",
    "delete pod/{} garden/{} deployment/{} configmap/{} --now",
];

fn every_kubectl(cluster: &Cluster) {
    let Some(on_path) = super::support::real_kubectl().and_then(|k| std::fs::canonicalize(k.program).ok())
    else {
        return;
    };
    let mut programs: Vec<PathBuf> = (27..=33)
        .map(|minor| on_path.with_file_name(format!("kubectl.1.{minor}")))
        .filter(|p| p.is_file())
        .collect();
    programs.push(on_path);
    let all: Vec<Vec<String>> = std::thread::scope(|threads| {
        let sessions: Vec<_> =
            programs.iter().enumerate().map(|(i, p)| threads.spawn(move || common(cluster, i, p))).collect();
        sessions
            .into_iter()
            .map(|session| session.join().expect("a kubectl that does what is common"))
            .collect()
    });
    for (program, lines) in programs.iter().zip(&all).skip(1) {
        for ((line, theirs), first) in COMMON.iter().zip(lines).zip(&all[0]) {
            assert_eq!(theirs, first, "{}: {line}", program.display());
        }
    }
}

/// What one kubectl says to each of the lines.
fn common(cluster: &Cluster, session: usize, program: &Path) -> Vec<String> {
    let (name, kubectl) = (format!("k{session}"), Kubectl { program: program.into(), leading: vec![] });
    let text = format!(
        "apiVersion: kopf.example.com/v1\nkind: Garden\nmetadata: {{name: {name}}}\nspec: {{flowers: 1}}\n"
    );
    std::fs::write(cluster.home.path().join(format!("{name}.yaml")), text).expect("a file");
    let lines = COMMON.iter().map(|line| {
        let line = line.replace("{}.yaml", &format!("{}/{{}}.yaml", cluster.home.path().display()));
        let line = line.replace("{}", &name);
        let words: Vec<&str> = line.split(' ').collect();
        let said = cluster.kubectl(&kubectl, &words);
        assert_eq!(said.code, 0, "{} {line}: {}", program.display(), said.err);
        match words[0] {
            // How far a deployment has come when it is first looked at differs from run to run.
            "rollout" => said.out.trim_end().lines().last().unwrap_or_default().replace(&name, "NAME"),
            // The same in other layouts.
            "explain" => said.out.split_whitespace().filter(|w| !w.starts_with('-')).collect(),
            _ => said.out.replace(&name, "NAME"),
        }
    });
    lines.collect()
}
