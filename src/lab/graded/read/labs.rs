//! All labs: those in the binary with those of packs, or those of a directory alone.

use super::lab::Lab;
use super::parse::parse;
use crate::format::{Fault, OTHERS, file, library, pack};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// All labs: those in the binary with those of packs, or those of a directory alone.
#[derive(Clone, Debug, Default)]
pub struct Labs {
    /// In the order of their levels, then of their ids.
    pub labs: Vec<Lab>,
    /// What is wrong with labs that were left out.
    pub faults: Vec<Fault>,
    /// All of them are from this directory; `None`: from the binary and from packs.
    pub(crate) directory: Option<PathBuf>,
    /// Folders of packs that have labs.
    pub(crate) packs: Vec<PathBuf>,
}

static EMBEDDED: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/../../labs");

/// How a record names the labs in the binary.
const BUILT_IN: &str = "built-in";

/// The variable that names a directory to read labs from, instead of those in the binary.
pub const DIRECTORY: &str = "ROPEWALK_LABS";

/// The directory that [`DIRECTORY`] names; `None` if it is not set or empty.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).filter(|d| !d.is_empty()).map(PathBuf::from)
}

impl Labs {
    /// From the directory that [`DIRECTORY`] names, and nothing else; without one the built-in labs
    /// with those of packs. Packs are read anew.
    pub fn load() -> Arc<Labs> {
        if let Some(directory) = directory() {
            return Labs::read(&directory).into();
        }
        let mut packs = pack::folders_of_home();
        packs.extend(library::directory().filter(|_| !library::is_only()));
        Labs::with_packs(&packs)
    }

    /// The built-in labs and those in the folder `labs` of packs.
    pub(crate) fn with_packs(packs: &[PathBuf]) -> Arc<Labs> {
        let folders = packs.iter().map(|pack| pack.join(pack::LABS));
        let folders: Vec<PathBuf> = folders.filter(|folder| folder.is_dir()).collect();
        if folders.is_empty() {
            return Labs::built_in();
        }
        let mut labs = Arc::unwrap_or_clone(Labs::built_in());
        for folder in folders {
            labs.add_pack(folder);
        }
        labs.sorted().into()
    }

    /// Adds the labs of a pack. One whose id is there already is left out, and a fault names both
    /// files.
    fn add_pack(&mut self, folder: PathBuf) {
        let pack = folder.parent().unwrap_or(&folder);
        let (mut files, faults) = pack::files_below(pack, &folder);
        self.faults.extend(faults);
        self.faults.extend(pack::take_harmful(&mut files));
        let mut other = Labs::default();
        let dirs: BTreeSet<PathBuf> = files.keys().filter_map(|file| Some(file.parent()?.into())).collect();
        for dir in dirs {
            other.add(|name| {
                let path = dir.join(name);
                Ok(files.get(&path).map(|text| (path, text.clone())))
            });
        }
        self.faults.extend(other.faults);
        for lab in other.labs {
            match self.get(&lab.id) {
                Some(first) => {
                    let line = files.get(&lab.file).map_or(1, |text| pack::line_of(text, "id"));
                    let first = first.file.display();
                    let what = format!("the lab {:?} is already in {first}; give it another id", lab.id);
                    self.faults.push(Fault { file: lab.file, line, what });
                }
                None => self.labs.push(lab),
            }
        }
        self.packs.push(folder);
    }

    /// Where a lab was read from, as a record names it: [`BUILT_IN`], or a directory.
    pub(crate) fn source(&self, lab: &Lab) -> String {
        let of_pack = || self.packs.iter().find(|folder| lab.file.starts_with(folder));
        let directory = self.directory.as_ref().or_else(of_pack);
        directory.map_or_else(|| BUILT_IN.into(), |directory| directory.display().to_string())
    }

    /// Those in a directory; without one, as [`Labs::load`].
    pub fn at(directory: Option<&Path>) -> Arc<Labs> {
        directory.map_or_else(Labs::load, |directory| Labs::read(directory).into())
    }

    /// Those in the binary, which a process reads once.
    pub fn built_in() -> Arc<Labs> {
        static READ: LazyLock<Arc<Labs>> = LazyLock::new(|| Labs::embedded().into());
        READ.clone()
    }

    fn embedded() -> Labs {
        let text = |dir: &include_dir::Dir<'_>, name: &str| {
            let file = dir.get_file(dir.path().join(name))?;
            Some((Path::new("labs").join(file.path()), file.contents_utf8()?.to_string()))
        };
        let mut labs = Labs::default();
        for dir in EMBEDDED.dirs() {
            labs.add(|name| Ok(text(dir, name)));
        }
        labs.sorted()
    }

    /// From a directory laid out as `NAME/lab.md`.
    pub fn read(directory: &Path) -> Labs {
        let mut labs = Labs { directory: Some(directory.into()), ..Labs::default() };
        let fault = |what: String| Fault { file: directory.into(), line: 1, what };
        let entries = match std::fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) => return Labs { faults: vec![fault(format!("cannot be looked into: {e}"))], ..labs },
        };
        for dir in entries.flatten().map(|e| e.path()).filter(|path| path.is_dir()) {
            labs.add(|name| {
                let path = dir.join(name);
                let Some(text) = file::text(&path)? else { return Ok(None) };
                pack::harmless(&path, &text)?; // it may be a stranger's
                Ok(Some((path, text)))
            });
        }
        if labs.labs.is_empty() && labs.faults.is_empty() {
            labs.faults.push(fault("there are no labs here".into()));
        }
        labs.sorted()
    }

    fn add(&mut self, text: impl Fn(&str) -> Result<Option<(PathBuf, String)>, Fault>) {
        let read = || {
            let Some((file, english)) = text("lab.md")? else { return Ok(None) };
            let mut others = Vec::new();
            for lang in OTHERS {
                others.extend(text(&format!("lab.{lang}.md"))?.map(|found| (*lang, found)));
            }
            Ok(Some((file, english, others)))
        };
        match read() {
            Ok(None) => {} // not a lab's directory
            Ok(Some((file, english, others))) => match parse(&english, &file, &others) {
                Ok(lab) => self.labs.push(lab),
                Err(faults) => self.faults.extend(faults),
            },
            Err(fault) => self.faults.push(fault),
        }
    }

    fn sorted(mut self) -> Labs {
        self.labs.sort_by(|a, b| (a.level, &a.id).cmp(&(b.level, &b.id)));
        self
    }

    /// Returns whether a lab has this id, without reading it: in the binary, or in the directory
    /// that [`DIRECTORY`] names.
    pub(crate) fn is_known(id: &str) -> bool {
        let is_name = !id.is_empty() && !id.contains(['/', '.']);
        let is_in = |directory: PathBuf| directory.join(id).join("lab.md").is_file();
        is_name && (EMBEDDED.get_dir(id).is_some() || directory().is_some_and(is_in))
    }

    /// The lab with this id.
    pub fn get(&self, id: &str) -> Option<&Lab> {
        self.labs.iter().find(|l| l.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lab::Hint;
    use super::*;
    use crate::cel::facts::{self, Facts, Object};
    use crate::cel::{Expr, Use, value, version::Version};
    use serde_json::{Map, Value, json};

    /// A cluster that has nothing but these objects. They are made from what a lab draws from
    /// seed 7.
    fn facts_of(lab: &Lab, objects: impl Fn(&Map<String, Value>) -> Vec<Value>) -> Arc<Facts> {
        let variant = lab.variant(7).unwrap();
        let mut known =
            Facts { variant: Some(value::of_json(&Value::Object(variant.clone()))), ..Facts::default() };
        for kind in lab.exprs().flat_map(|e| &e.kinds).filter_map(|k| facts::kind(k)) {
            known.objects.entry(kind.qualified()).or_default();
        }
        for object in objects(&variant) {
            let kind = facts::kind(object["kind"].as_str().unwrap()).unwrap();
            let key = ["namespace", "name"].map(|f| object["metadata"][f].as_str().unwrap().to_string());
            let all = known.objects.entry(kind.qualified()).or_default();
            Arc::make_mut(all).insert(key.into(), Object::new(object));
        }
        Arc::new(known)
    }

    /// Whether a task of a built-in lab is met where nothing else is but these objects.
    fn is_met(lab: &str, task: &str, objects: impl Fn(&Map<String, Value>) -> Vec<Value>) -> bool {
        let labs = Labs::built_in();
        let lab = labs.get(lab).unwrap();
        let known = facts_of(lab, objects);
        let task = lab.tasks.iter().find(|t| t.id == task).unwrap();
        task.checks.iter().all(|(_, check)| check.holds(&known))
    }

    /// The hints of the second tier that a built-in lab gives where nothing else is but its
    /// Deployment, with this pod spec.
    fn hinted(lab: &str, spec: &Value) -> Vec<String> {
        hinted_at(2, lab, spec)
    }

    fn hinted_at(tier: u8, lab: &str, spec: &Value) -> Vec<String> {
        let labs = Labs::built_in();
        let lab = labs.get(lab).unwrap();
        let known = facts_of(lab, |v| {
            vec![
                json!({"kind": "Deployment", "metadata": {"namespace": v["ns"], "name": v["app"], "uid": "d"},
                    "spec": {"replicas": v["count"], "template": {"spec": spec}}}),
            ]
        });
        let so =
            |hint: &&Hint| hint.tier == tier && hint.when.as_ref().is_some_and(|when| when.holds(&known));
        lab.hints.iter().filter(so).map(|hint| hint.id.clone()).collect()
    }

    #[test]
    fn hints_of_slow_death_are_true_of_the_script_and_the_hook() {
        let ending = |script: &str, hooks: Value| {
            let container = json!({"command": ["sh", "-c"], "args": [script], "lifecycle": hooks});
            hinted("slow-death", &json!({"containers": [container]}))
        };
        let trap = |act: &str, last: &str| {
            let script = format!("echo-server 8101 &\nserver=$!\ntrap \"{act}\" TERM\n{last}");
            ending(&script, json!({}))
        };
        assert_eq!(trap("kill $server", "wait"), ["what-wait"]);
        // A second `wait` does not help where the server gets SIGKILL, or where the trap ends the
        // shell.
        for act in ["kill -9 $server", "kill -s KILL $server", "kill -SIGKILL $server"] {
            assert_eq!(trap(act, "wait"), ["what-kill"], "{act}");
        }
        assert_eq!(trap("kill $server; exit 0", "wait"), ["what-exit"]);
        assert_eq!(trap("sleep 7; exit 0", "wait"), ["what-pause"]);
        for act in ["kill $server", "kill $server; wait; exit 0"] {
            assert!(trap(act, "wait\nwait").is_empty(), "{act}");
        }
        // A pause that the check accepts is not called too long.
        let paused = |hook: Value| ending("exec echo-server 8101", json!({"preStop": hook}));
        assert!(paused(json!({"sleep": {"seconds": 12}})).is_empty());
        assert_eq!(paused(json!({"sleep": {"seconds": 13}})), ["what-long"]);
        for command in [json!(["sleep", "20"]), json!(["sh", "-c", "sleep 20; kill 1"])] {
            assert_eq!(paused(json!({"exec": {"command": command}})), ["what-long"]);
        }
    }

    /// A controller that heard late that a grading was taken back has made one more pod with the
    /// finalizer of the grading.
    #[test]
    fn slow_death_counts_no_pod_of_an_earlier_grading() {
        let labs = Labs::built_in();
        let lab = labs.get("slow-death").unwrap();
        let source = &lab.tasks.iter().find(|t| t.id == "ends").unwrap().checks[0].1.source;
        let from = "(size(get(object(\"Deployment\", v.ns, v.app), \"spec.template.metadata.finalizers\"";
        let deleted = Expr::compile(&source[source.find(from).unwrap()..], Use::Check, &[]).unwrap();
        // Whole seconds of one minute in which the pods were made and ended.
        let is_met = |further: &[(u64, u64)], first_ended: u64| {
            deleted.holds(&facts_of(lab, |v| {
                let time = |second: u64| format!("2026-01-01T10:00:{second:02}Z");
                let object = |kind: &str, name: &Value, made: u64| {
                    let metadata =
                        json!({"namespace": v["ns"], "name": name, "creationTimestamp": time(made)});
                    json!({"kind": kind, "metadata": metadata})
                };
                let count = v["count"].as_u64().unwrap();
                let mut times = further.to_vec();
                times.extend((0..count).flat_map(|_| [(12, first_ended), (21, 50)]));
                let pod = |(at, (made, ended)): (usize, (u64, u64))| {
                    let mut pod = object("Pod", &format!("p{at}").into(), made);
                    pod["metadata"]["deletionTimestamp"] = time(ended).into();
                    pod["metadata"]["finalizers"] = json!(["ropewalk.io/judge"]);
                    let state = json!({"terminated": {"exitCode": 0, "finishedAt": time(ended)}});
                    pod["status"] = json!({"containerStatuses": [{"state": state}]});
                    pod
                };
                let mut all: Vec<Value> = times.into_iter().enumerate().map(pod).collect();
                let mut app = object("Deployment", &v["app"], 0);
                app["spec"] = json!({"template": {"metadata": {"finalizers": ["ropewalk.io/judge"]}}});
                let map = |name: &str, made: u64| object("ConfigMap", &name.into(), made);
                all.extend([app, map("rounds", 10), map("moment", 20)]);
                all
            }))
        };
        assert!(is_met(&[], 22) && is_met(&[(5, 6)], 22), "one of an earlier grading");
        assert!(!is_met(&[(11, 15)], 22), "one more of this grading");
        assert!(!is_met(&[], 40), "its pods end late");
    }

    #[test]
    fn hints_of_slow_death_find_the_script_in_the_command_and_in_the_arguments() {
        let told = |container: Value| hinted("slow-death", &json!({"containers": [container]}));
        for (script, hints) in [
            ("echo starting\necho-server 8101 &\nwait\necho ended", &["what-shell"][..]),
            ("while :; do\n  echo-server 8101\ndone", &["what-shell", "what-loop"]),
            ("exec echo-server 8101 &\nsleep infinity", &["what-background"]),
            ("trap 'exit 0' TERM\necho-server 8101", &["what-foreground"]),
            ("echo-server 8101 &\ntrap \"kill $!\" TERM\nwait", &["what-wait"]),
            ("echo-server 8101 &\ntrap \"kill -9 $!\" TERM\nwait", &["what-kill"]),
            ("echo-server 8101 &\ntrap \"kill $!; exit 0\" TERM\nwait", &["what-exit"]),
            ("echo-server 8101 &\ntrap \"sleep 20; exit 0\" TERM\nwait", &["what-pause"]),
            ("echo-server 8101 &\ntrap \"sleep 20; kill $!; wait\" TERM\nwait", &["what-long"]),
        ] {
            for container in [
                json!({"command": ["sh", "-c"], "args": [script]}),
                json!({"command": ["sh", "-c", script]}),
                json!({"command": ["/bin/sh"], "args": ["-c", script]}),
            ] {
                assert_eq!(told(container.clone()), hints, "{container}");
            }
        }
        // Behind the script stand its arguments, so the old script is not run any more.
        let moved =
            json!({"command": ["sh", "-c", "exec echo-server 8101"], "args": ["echo-server 8101 &\nwait"]});
        assert!(told(moved).is_empty());
        assert!(told(json!({"command": ["echo-server", "8101"]})).is_empty());
    }

    /// A container may stand before that of the program, and one that was added may be wrong, too.
    #[test]
    fn hints_of_missing_key_look_at_every_container() {
        let labs = Labs::built_in();
        let variant = labs.get("missing-key").unwrap().variant(7).unwrap();
        let login = format!("{}-login", variant["app"].as_str().unwrap());
        let env = |rest: Value| json!({"env": [rest]});
        let right = env(
            json!({"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": login, "key": "password"}}}),
        );
        let (literal, other) =
            (env(json!({"name": "PASSWORD", "value": "x"})), env(json!({"name": "LOG", "value": "all"})));
        let told = |tier: u8, id: &str, containers: [&Value; 2]| {
            let spec = json!({"containers": containers});
            hinted_at(tier, "missing-key", &spec).iter().any(|hint| hint == id)
        };
        assert!(!told(3, "how", [&right, &right]));
        assert!(told(3, "how", [&other, &right]) && told(3, "how", [&right, &other]));
        assert!(!told(2, "what-literal", [&right, &other]));
        assert!(told(2, "what-literal", [&right, &literal]) && told(2, "what-literal", [&literal, &right]));
    }

    #[test]
    fn a_hint_of_stale_settings_tells_of_every_other_source() {
        let labs = Labs::built_in();
        let variant = labs.get("stale-settings").unwrap().variant(7).unwrap();
        let app = variant["app"].as_str().unwrap();
        let (settings, path) = (format!("{app}-settings"), format!("/etc/{app}"));
        let env = |rest: Value| json!({"containers": [{"env": [rest]}]});
        let from = |source: Value| json!({"containers": [{"envFrom": [source]}]});
        let file = |path: &str, map: &str| {
            json!({"volumes": [{"name": "v", "configMap": {"name": map}}],
                "containers": [{"volumeMounts": [{"name": "v", "mountPath": path}]}]})
        };
        let is_told = |spec: &Value| hinted("stale-settings", spec).iter().any(|id| id == "what-other");
        let own = [
            env(
                json!({"name": "PRICE", "valueFrom": {"configMapKeyRef": {"name": settings, "key": "PRICE"}}}),
            ),
            env(json!({"name": "PRICE", "value": "20"})), // another hint is about this
            from(json!({"configMapRef": {"name": settings}})),
            file(&path, &settings),
        ];
        let other = [
            env(json!({"name": "PRICE", "valueFrom": {"secretKeyRef": {"name": settings, "key": "PRICE"}}})),
            from(json!({"secretRef": {"name": settings}})),
            file(&format!("{path}/PRICE"), "other"),
            file("/etc/elsewhere", &settings),
        ];
        assert_eq!(own.iter().map(is_told).collect::<Vec<_>>(), [false; 4]);
        assert_eq!(other.iter().map(is_told).collect::<Vec<_>>(), [true; 4]);
    }

    #[test]
    fn a_hint_of_scheduler_down_tells_of_pods_that_were_bound_by_hand() {
        let labs = Labs::built_in();
        let lab = labs.get("scheduler-down").unwrap();
        let when = lab.hints.iter().find(|hint| hint.id == "how-hand").unwrap().when.as_ref().unwrap();
        let ns = lab.variant(7).unwrap()["ns"].as_str().unwrap().to_string();
        let is_told = |nodes: &[&str], user: &str| {
            let known = facts_of(lab, |v| {
                let app = v["app"].as_str().unwrap();
                let made = |(kind, name, owner): (&str, &str, &str)| {
                    json!({"kind": kind, "metadata": {"namespace": v["ns"], "name": name, "uid": kind,
                        "ownerReferences": [{"uid": owner, "controller": true}]}})
                };
                let all =
                    [("Deployment", app, ""), ("ReplicaSet", "r", "Deployment"), ("Pod", "p", "ReplicaSet")];
                all.map(made).into()
            });
            let body = |node: &str| json!({"spec": {"nodeName": node}}).to_string().into();
            let version = |(node, at)| Arc::new(Version::new(at, None, "MODIFIED", body(node)).by(user));
            let versions = Arc::new(nodes.iter().copied().zip(1..).map(version).collect());
            let mut known = Arc::into_inner(known).unwrap();
            known.history = Arc::new([(("pods".into(), ns.clone(), "p".into()), versions)].into());
            when.holds(&Arc::new(known))
        };
        assert!(is_told(&["", "n"], "learner") && !is_told(&["", "n"], "system:kube-scheduler"));
        assert!(!is_told(&["n"], "learner") && !is_told(&[""], "learner"), "by a template, by none");
    }

    #[test]
    fn a_report_may_end_with_a_newline() {
        let reported = |after: &str| {
            is_met("broken-selector", "report", |v| {
                let cause = format!("{}{after}", v["bad"].as_str().unwrap());
                vec![
                    json!({"kind": "ConfigMap", "metadata": {"namespace": v["ns"], "name": "report"}, "data": {"cause": cause}}),
                ]
            })
        };
        assert_eq!(["", "\n", "\r\n", "-x", "\nx"].map(reported), [true, true, true, false, false]);
    }

    #[test]
    fn a_controller_of_other_pods_is_not_counted() {
        // Of controllers: a name, and how many replicas it wants. The pods are owned by the one
        // that is named.
        let counted = |controllers: &[(&str, i64)], owners: [&str; 2]| {
            is_met("orphans", "number", |v| {
                let count = v["count"].as_u64().unwrap() as usize;
                let set = |(name, more): &(&str, i64)| {
                    json!({"kind": "ReplicaSet", "metadata": {"namespace": v["ns"], "name": name, "uid": name},
                        "spec": {"replicas": count as i64 + more}})
                };
                let pod = |at: usize| {
                    let owner = owners[usize::from(at > 0)];
                    json!({"kind": "Pod", "metadata": {"namespace": v["ns"], "name": at.to_string(), "labels": {"app": v["app"]},
                        "ownerReferences": [{"uid": owner}]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
                };
                controllers.iter().map(set).chain((0..count).map(pod)).collect()
            })
        };
        assert!(counted(&[("own", 0)], ["own", "own"]));
        assert!(counted(&[("own", 0), ("other", 3)], ["own", "own"]));
        assert!(!counted(&[("own", 1)], ["own", "own"]));
        assert!(!counted(&[("own", 0), ("other", 0)], ["own", "other"]));
        assert!(!counted(&[], ["own", "own"]));
    }

    #[test]
    fn what_is_in_the_binary_is_sound() {
        let labs = Labs::built_in();
        assert_eq!(labs.faults, []);
        assert!(labs.labs.iter().all(|l| l.languages == ["en", "ko"] && l.wrong.len() >= 3));
        assert!(labs.labs.iter().all(|l| l.tasks.iter().map(|t| t.weight).sum::<u32>() == 100));
    }

    /// Labs about what has no namespace, or has the cluster's own: a learner is told what else they
    /// may take.
    const WHOLE_CLUSTER: [&str; 6] =
        ["controllers-down", "dns-down", "kubelet-down", "nothing-fits", "proxy-down", "scheduler-down"];

    #[test]
    fn every_lab_stays_in_its_namespace() {
        for lab in &Labs::built_in().labs {
            if WHOLE_CLUSTER.contains(&lab.id.as_str()) {
                continue;
            }
            let variant = lab.variant(7).unwrap();
            let ns = variant["ns"].as_str().unwrap();
            assert_eq!(lab.places(&variant), Some([ns.to_string()].into()), "{}", lab.id);
        }
    }

    #[test]
    fn a_lab_that_cannot_be_read_is_told_of() {
        let root = tempfile::tempdir().unwrap();
        let told = |root: &Path| Labs::read(root).faults.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(told(root.path())[0].contains("there are no labs here"));
        assert!(told(&root.path().join("none"))[0].contains("cannot be looked into"));
        let lab = root.path().join("broken-selector");
        std::fs::create_dir(&lab).unwrap();
        std::fs::write(lab.join("lab.md"), include_str!("../../../../labs/broken-selector/lab.md")).unwrap();
        assert_eq!(told(root.path()), Vec::<String>::new());
        // A translation that is there and cannot be read is not a lab without one.
        std::fs::write(lab.join("lab.ko.md"), b"---\nid: \xff\n").unwrap();
        let faults = told(root.path());
        assert!(faults.len() == 1 && faults[0].contains("lab.ko.md:2: is not UTF-8"), "{faults:?}");
        std::fs::write(lab.join("lab.md"), b"\xff").unwrap();
        assert!(told(root.path())[0].contains("lab.md:1: is not UTF-8"));
    }
}
