//! What a command line reaches beside the cluster: files, programs and ports of the machine that
//! kubectl runs on, and other servers.
//!
//! The user who types a line may reach all of that. A line of another author is checked with
//! [`reached`] before it runs.

use crate::parse;

/// Verbs that write files here, run programs or open ports, whatever flags they have. Of `config`
/// those are missing that choose among what the kubeconfig has, or only read it.
const VERBS: &[&str] = &[
    "apply edit-last-applied",
    "config delete-cluster",
    "config delete-context",
    "config delete-user",
    "config rename-context",
    "config set",
    "config set-cluster",
    "config set-credentials",
    "config unset",
    "cp",
    "edit",
    "kustomize",
    "plugin",
    "plugin list",
    "port-forward",
    "proxy",
];

/// Flags that name a file or a folder, and the one that names a server: `create --raw` sends any
/// body to any path of it, be it a port of the loopback or another host of the network.
const FLAGS: &[&str] = &[
    "cache-dir",
    "cert",
    "certificate-authority",
    "client-certificate",
    "client-key",
    "custom",
    "from-env-file",
    "from-file",
    "key",
    "kubeconfig",
    "kustomize",
    "output-directory",
    "profile-output",
    "server",
];

/// True for a flag whose value is the name of a file or folder, as it is typed: `-f`, `--key`.
pub fn names_file(flag: &str) -> bool {
    let is_long = |name: &str| FLAGS.contains(&name) || matches!(name, "filename" | "patch-file");
    matches!(flag, "-f" | "-k")
        || flag.strip_prefix("--").is_some_and(|name| is_long(&name.replace('_', "-")))
}

/// Returns the verb or the flag by which a line reaches the machine; `None`: it reaches the server
/// alone, or kubectl refuses it. `words` are those after the program's name.
///
/// Example: `cp`, `--kubeconfig` and `--filename` of `apply -f web.yaml`; nothing of `apply -f -`.
pub fn reached(words: &[String]) -> Option<String> {
    // Completion reads the kubeconfig that is being typed.
    if let Some(word) = words.first().filter(|word| word.starts_with("__")) {
        return Some(word.clone());
    }
    let parsed = parse::parse(words).ok()?;
    let (verb, flags) = (parsed.verb.path, &parsed.flags);
    if VERBS.contains(&verb) {
        return Some(verb.into());
    }
    let is_file = |file: &str| !matches!(file, "" | "-");
    // `-o jsonpath-file=path`
    let is_template = flags.text("output").split('=').next().is_some_and(|form| form.ends_with("file"));
    let named = FLAGS.iter().find(|name| flags.changed(name)).copied();
    let named = named.or(flags.list("filename").iter().any(|file| is_file(file)).then_some("filename"));
    let named = named.or(is_file(flags.text("patch-file")).then_some("patch-file"));
    let named = named.or(is_template.then_some("output"));
    // `create -f - --edit` runs the editor, as `edit` does.
    named.or(flags.is("edit").then_some("edit")).map(|name| format!("--{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table;

    fn of(line: &str) -> Option<String> {
        let words: Vec<String> = line.split(' ').map(String::from).collect();
        reached(&words)
    }

    #[test]
    fn what_reaches_the_machine_is_found_however_it_is_spelled() {
        for (line, by) in [
            ("cp default/web:/x /tmp/x", "cp"),
            ("edit deploy web", "edit"),
            ("proxy --port=8001", "proxy"),
            ("port-forward pod/web 80", "port-forward"),
            ("config set-credentials a --exec-command=sh", "config set-credentials"),
            ("-n default --kubeconfig=/root/.kube/config get pods", "--kubeconfig"),
            ("get pods --kubeconfig config", "--kubeconfig"),
            ("create configmap loot --from-file=/etc/passwd", "--from-file"),
            ("create secret generic loot --from-env-file x", "--from-env-file"),
            ("create secret generic loot --from_env_file x", "--from-env-file"),
            ("create secret tls loot --cert=a --key=b", "--cert"),
            ("apply -f web.yaml", "--filename"),
            ("apply -f -,web.yaml", "--filename"),
            ("apply -f http://127.0.0.1/a.yaml", "--filename"),
            ("apply -Rf .", "--filename"),
            ("apply -k .", "--kustomize"),
            ("patch pod web --patch-file=x", "--patch-file"),
            ("cluster-info dump --output-directory=/tmp/x", "--output-directory"),
            ("get pods -o jsonpath-file=/etc/passwd", "--output"),
            ("get pods -ocustom-columns-file=/etc/passwd", "--output"),
            ("get pods -o templatefile --template /etc/passwd", "--output"),
            ("create --raw /containers/create -f - -s http://127.0.0.1:2375", "--server"),
            ("--server=http://192.168.0.1 get --raw /", "--server"),
            ("create -f - --edit", "--edit"),
            ("__complete get pods --kubeconfig=x ", "__complete"),
        ] {
            assert_eq!(of(line).as_deref(), Some(by), "{line}");
        }
        for line in [
            "get pods -o jsonpath={.items}",
            "apply -f - --server-side",
            "create -f - --edit=false",
            "patch pod web -p {}",
            "patch pod web --patch-file=-",
            "logs -f web",
            "exec web -- cp /a /b --kubeconfig=x",
            "config set-context --current --namespace=staging",
            "run web --image=nginx",
            "nosuch --kubeconfig=x",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    /// A new flag of the table that names a file must be added to `FLAGS`, too.
    #[test]
    fn each_flag_that_names_a_file_is_known() {
        // Flags whose help has the word, and whose value is no file.
        let others =
            ["allow-missing-template-keys", "recursive", "tail", "template", "vmodule", "flatten", "local"];
        let others = [&others[..], &["merge", "no-preserve", "patch", "output"]].concat();
        let words = ["file", "filename", "files", "directory", "folder"];
        for verb in table::all().iter().filter(|verb| !VERBS.contains(&verb.path)) {
            for flag in verb.all_flags().filter(|flag| !others.contains(&flag.name)) {
                let help = flag.help.to_lowercase();
                let mut help_words = help.split(|c: char| !c.is_ascii_alphanumeric());
                let is_known = FLAGS.contains(&flag.name) || ["filename", "patch-file"].contains(&flag.name);
                assert!(
                    is_known || !help_words.any(|word| words.contains(&word)),
                    "{} --{}",
                    verb.path,
                    flag.name
                );
            }
        }
        assert!(VERBS.iter().all(|path| table::named(path).path == *path), "each is a verb");
    }
}
