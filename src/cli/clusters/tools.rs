//! `kubectl` and `etcdctl`: the built-in clients on a cluster of this home.

use super::has_kubeconfig;
use crate::usage;
use crate::words::Word;
use anyhow::anyhow;
use cluster::control::{Ask, Control};
use cluster::home::Home;
use cluster::{Error, Place, Refusal};
use etcdctl::Preset;
use lang::Lang;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// The built-in kubectl on the cluster's own kubeconfig, whatever KUBECONFIG says. What needs no
/// server works without one, and without a home.
pub(crate) async fn kubectl(name: &str, words: Vec<String>) -> anyhow::Result<i32> {
    let mut env = kubectl::Env::of_process();
    if let Some(own) = own_kubeconfig(Home::find(), name, kubectl::asks_a_server(&words))? {
        env.kubeconfig = Some(own);
    }
    let args = std::iter::once("kubectl".to_string()).chain(words).collect();
    Ok(kubectl::stdio::to_the_end(args, env).await)
}

/// Returns the kubeconfig of the cluster `name`. If it is not needed the file may not be there yet:
/// a plugin then finds no cluster, and not the one that KUBECONFIG names. `None`: there is no home.
///
/// # Errors
/// No cluster can have this name; or the kubeconfig is needed, and is not there.
fn own_kubeconfig(home: Result<Home, Error>, name: &str, is_needed: bool) -> Result<Option<PathBuf>, Error> {
    let place = match home {
        Ok(home) => home.cluster(name)?,
        Err(error) => return if is_needed { Err(error) } else { Ok(None) },
    };
    match has_kubeconfig(&place) {
        Ok(false) if is_needed => Err(Error::NotRunning(name.into())),
        Err(unknown) if is_needed => Err(unknown),
        Ok(_) | Err(_) => Ok(Some(place.kubeconfig())),
    }
}

/// The built-in etcdctl on the cluster's own store. What needs no store works without one, and
/// without a home.
pub(crate) async fn etcdctl(name: &str, words: Vec<String>) -> anyhow::Result<i32> {
    let elsewhere = names_endpoints(&words)
        || std::env::var_os("ETCDCTL_ENDPOINTS").is_some_and(|endpoints| !endpoints.is_empty());
    let is_needed = !elsewhere && etcdctl::needs_a_store(&words);
    let found = match Home::find() {
        Ok(home) => store(&home.cluster(name)?).await,
        Err(error) => Err(error),
    };
    let preset = checked(found, is_needed, name, usage::language(None))?;
    Ok(run_etcdctl(words, preset).await)
}

/// True if a command line names its own store. What stands behind `--` is no option: a key, or the
/// line of the program that `lock` and `watch` run.
fn names_endpoints(words: &[String]) -> bool {
    let mut options = words.iter().take_while(|word| *word != "--");
    options.any(|word| word == "--endpoints" || word.starts_with("--endpoints="))
}

/// Returns the store that a command uses, or why it cannot run. Without an endpoint of the cluster,
/// etcdctl would try its usual one, which may be that of another cluster.
///
/// # Errors
/// The command needs a store, and the cluster does not answer or has none that runs.
fn checked(found: Result<Preset, Error>, is_needed: bool, name: &str, lang: Lang) -> anyhow::Result<Preset> {
    match found {
        Ok(preset) if is_needed && preset.endpoints.is_empty() => {
            Err(anyhow!(lang.say(Word::NoMember, &[name, name])))
        }
        Ok(preset) => Ok(preset),
        Err(error) if is_needed => Err(error.into()),
        Err(_) => Ok(Preset::default()),
    }
}

/// The built-in etcdctl under its own name, where there may be another etcd to talk to.
pub(crate) async fn etcdctl_alone(words: Vec<String>) -> anyhow::Result<i32> {
    let preset = preset_alone(Home::find(), &std::env::var_os("KUBECONFIG").unwrap_or_default()).await?;
    Ok(run_etcdctl(words, preset).await)
}

/// Returns the store of the cluster that `KUBECONFIG` belongs to, else of `main`. Empty if that
/// does not answer, or if there is no home: a service of systemd or a cron job may have no `HOME`.
async fn preset_alone(home: Result<Home, Error>, kubeconfig: &OsStr) -> Result<Preset, Error> {
    let Ok(home) = home else { return Ok(Preset::default()) };
    let place = match cluster_of(&home, kubeconfig) {
        Some(place) => place,
        None => home.cluster("main")?,
    };
    Ok(store(&place).await.unwrap_or_default())
}

/// Returns the cluster of this home whose own kubeconfig is the first that `KUBECONFIG` names,
/// which may be a relative path, or a link. A file of another program that lies in a directory of a
/// cluster's name is none.
fn cluster_of(home: &Home, kubeconfig: &OsStr) -> Option<Place> {
    let first = std::env::split_paths(kubeconfig).find(|path| !path.as_os_str().is_empty())?;
    // Neither the file nor its cluster need be there: of a cluster that does not run, too, the
    // absolute path is known.
    let real = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    let first = real(&first)?;
    let beside = first.parent().and_then(Path::file_name).and_then(OsStr::to_str).map(String::from);
    let mut names = home.clusters().into_iter().chain(beside);
    names.find_map(|name| {
        let place = home.cluster(&name).ok()?;
        (real(&place.kubeconfig())? == first).then_some(place)
    })
}

/// Runs the built-in etcdctl on the terminal of this process, and returns its exit code.
async fn run_etcdctl(words: Vec<String>, preset: Preset) -> i32 {
    let args = std::iter::once("etcdctl".to_string()).chain(words).collect();
    etcdctl::on_stdio(args, preset).await
}

/// Finds out where a cluster's store is.
///
/// # Errors
/// The cluster does not run, gives no answer, or is a foreign one, whose store is not known.
async fn store(place: &Place) -> Result<Preset, Error> {
    let mut control = Control::connect(place).await?;
    match control.ask(&Ask::Status).await {
        Ok(status) => preset_of(place, &status),
        // It ended between the question and its answer: it is a cluster that does not run.
        Err(Error::Ended) => Err(Error::NotRunning(place.name.clone())),
        Err(other) => Err(other),
    }
}

/// Returns the store that a cluster's status names.
fn preset_of(place: &Place, status: &Value) -> Result<Preset, Error> {
    if place.foreign().exists() {
        let url = status["apiServers"][0].as_str().unwrap_or_default().into();
        return Err(Refusal::OnlyAtHome { what: "etcdctl".into(), url }.into());
    }
    Ok(Preset::of_status(&status["etcd"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_for_another_server_needs_no_cluster() {
        let asks = |line: &str| {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            kubectl::asks_a_server(&words)
        };
        assert!(asks("get pods") && asks("get pods -n shop"));
        for line in [
            "get pods --kubeconfig=/k",
            "get pods -s https://h:6443",
            "--server https://h:6443 get pods",
            "version --client",
            "get --help",
        ] {
            assert!(!asks(line), "{line}");
        }
    }

    /// As in a service of systemd, which has no `HOME`.
    #[tokio::test]
    async fn what_needs_no_cluster_needs_no_home() {
        let homeless = || Err(Error::from(Refusal::NoHome));
        assert_eq!(own_kubeconfig(homeless(), "main", false).unwrap(), None);
        let refused = own_kubeconfig(homeless(), "main", true);
        assert!(matches!(refused, Err(Error::Refusal(Refusal::NoHome))), "{refused:?}");
        assert_eq!(preset_alone(homeless(), OsStr::new("")).await.unwrap(), Preset::default());
        let dir = tempfile::tempdir().unwrap();
        let home = || Ok::<_, Error>(Home::at(dir.path()));
        let place = home().unwrap().cluster("shop").unwrap();
        let own = own_kubeconfig(home(), "shop", false).unwrap();
        assert_eq!(own, Some(place.kubeconfig()), "a plugin is not led to another cluster");
        assert!(
            matches!(own_kubeconfig(home(), "shop", true), Err(Error::NotRunning(name)) if name == "shop")
        );
        assert!(own_kubeconfig(home(), "../x", false).is_err());
        place.make().unwrap();
        fs::write(place.kubeconfig(), "").unwrap();
        assert_eq!(own_kubeconfig(home(), "shop", true).unwrap(), Some(place.kubeconfig()));
    }

    /// To start it, as for one that does not run, would be the wrong advice.
    #[tokio::test]
    async fn a_cluster_that_gives_no_answer_is_not_said_to_be_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("main").unwrap();
        place.make().unwrap();
        assert!(matches!(store(&place).await, Err(Error::NotRunning(name)) if name == "main"));
        // Whether the cluster behind this runs cannot be found out.
        std::os::unix::fs::symlink(place.socket(), place.socket()).unwrap();
        assert!(!matches!(store(&place).await, Ok(_) | Err(Error::NotRunning(_))));
    }

    /// Such a session has no etcd that could be started again.
    #[test]
    fn the_store_of_a_foreign_cluster_is_not_said_to_be_broken() {
        let dir = tempfile::tempdir().unwrap();
        let place = Home::at(dir.path()).cluster("foreign-kind-1").unwrap();
        place.make().unwrap();
        let status = json!({"apiServers": ["https://far:6443"]});
        assert_eq!(preset_of(&place, &status).unwrap(), Preset::default());
        fs::write(place.foreign(), "{}").unwrap();
        let refused = preset_of(&place, &status).unwrap_err().say(Lang::En);
        assert!(refused.starts_with("`etcdctl` needs") && refused.contains("https://far:6443"), "{refused}");
    }

    /// As after `fault node crash` of the only control plane.
    #[test]
    fn a_store_without_a_member_that_runs_is_not_looked_for_elsewhere() {
        for (lang, part) in [(Lang::En, "no etcd member of cluster shop"), (Lang::Ko, "shop 클러스터")] {
            let refused = checked(Ok(Preset::default()), true, "shop", lang).unwrap_err().to_string();
            assert!(refused.contains(part) && refused.contains("fault list --name shop"), "{refused}");
        }
        let named = Preset { endpoints: vec!["https://127.0.0.1:2379".into()], ..Preset::default() };
        assert_eq!(checked(Ok(named.clone()), true, "shop", Lang::En).unwrap(), named);
        let stopped = || Err(Error::NotRunning("shop".into()));
        assert!(checked(stopped(), true, "shop", Lang::En).is_err());
        assert!(checked(stopped(), false, "shop", Lang::En).is_ok(), "help, or --endpoints");
        assert!(checked(Ok(Preset::default()), false, "shop", Lang::En).is_ok());
    }

    /// With an option of the program that is run, another etcd's usual endpoint would be asked.
    #[test]
    fn endpoints_behind_two_dashes_are_not_those_of_the_store() {
        let of = |line: &str| names_endpoints(&line.split(' ').map(String::from).collect::<Vec<_>>());
        assert!(of("get a --endpoints https://h:2379") && of("--endpoints=h:2379 get a -- b"));
        for line in ["get a", "watch a -- notify --endpoints=x", "get -- --endpoints", "put a ----endpoints"]
        {
            assert!(!of(line), "{line}");
        }
    }

    #[test]
    fn a_kubeconfig_of_another_program_names_no_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let place = home.cluster("prod").unwrap();
        let of = |kubeconfig: &str| cluster_of(&home, OsStr::new(kubeconfig)).map(|place| place.name);
        let own = place.kubeconfig().display().to_string();
        assert_eq!(of(&own).as_deref(), Some("prod"));
        assert_eq!(of(&format!(":{own}:/elsewhere/config")).as_deref(), Some("prod"));
        place.make().unwrap();
        for other in ["", "/elsewhere/prod/kubeconfig", "config", &format!("/elsewhere/config:{own}")] {
            assert_eq!(of(other), None, "{other}");
        }
        // A relative path and a link mean the same file as the absolute path.
        fs::write(place.kubeconfig(), "").unwrap();
        let link = dir.path().join("kc");
        std::os::unix::fs::symlink(place.kubeconfig(), &link).unwrap();
        assert_eq!(of(link.to_str().unwrap()).as_deref(), Some("prod"));
        let up: PathBuf = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect();
        let relative = up.join(place.kubeconfig().strip_prefix("/").unwrap());
        assert_eq!(of(relative.to_str().unwrap()).as_deref(), Some("prod"));
    }
}
