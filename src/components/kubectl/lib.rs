//! # kubectl: the cluster from the outside
//!
//! ## In Kubernetes
//! kubectl is a client like any other: it turns a line into a few requests to the API server and
//! prints the answers. It holds no power of its own; whatever it does, curl could do. What makes it
//! kubectl is its words: the verbs, the tables, the three-way merge of `apply`, the texts of its
//! errors.
//! ## How this one works
//! [`table`] is the one table of verbs and flags, a text (`table/kubectl.txt`) that is read at its
//! first use; parsing ([`parse`]), help, completion and dispatch derive from it. A verb is an async
//! function over a [`ctx::Ctx`]: the flags, the streams, and on demand the kubeconfig, a connection
//! ([`wire::api::Api`]) and the server's list of resources ([`wire::discovery`]). Kubeconfigs,
//! credential plugins, connections and discovery are parts of `client`, as client-go has them;
//! kubectl's are the flags that count before a kubeconfig and the words of errors. [`builder`]
//! turns `deploy/web` or `-l app=web` into objects, [`files`] does so with `-f x.yaml`, [`lists`]
//! reads lists page by page; [`print`](mod@print) turns objects into text. [`merge`] computes the
//! patches of `apply`; [`describe`] prints all about one object. Streams are handed in ([`Io`]), so
//! the REPL runs a command in its own process and can cancel it. The texts are those of kubectl
//! 1.35, of which there are transcripts: `tests/it/kubectl.rs` compares every byte, and a real
//! kubectl of that version where there is one. [`VERSION`] is the API's.
//! ## Left out
//! - The discovery cache on disk, and applysets.
//! - `debug node/…`; of `kustomize` components, generators, transformers, replacements, vars, Helm
//!   charts and functions (`-e`), and remote bases; the flags in `table::REFUSED`, among them
//!   `set env --resolve` and `get --server-print`. Each of these says so.
//! - Of 1.35 `--as-user-extra`, `top --show-swap` and the preferences of `--kuberc` and
//!   `~/.kube/kuberc`; `completion powershell`, `explain -o plaintext-openapiv2`, `api-resources -o
//!   json`.
//! - Clusters behind a proxy: a `proxy-url` is refused, `HTTPS_PROXY` is not read. Half-closed
//!   connections of `port-forward` to kubelets of others, whose WebSocket protocol has none.
//! - `cp` makes a copy of a hard link in the archive of a container; kubectl makes an empty file.
//! - `--wait` of `apply` and `replace` and `--openapi-patch` change nothing, as in kubectl.
//!   `apply --overwrite=false` refuses to change what another client changed; kubectl refuses every
//!   change then, as the annotation of the last configuration is one, too.
//! - An autoscaler that `autoscaling/v2` refuses is not tried as one of v1. Typed verbs send JSON
//!   where kubectl sends protobuf.
//! - Klog lines (`-v`, retries of discovery) are not printed. A duplicate key in a manifest is a
//!   warning; upstream's kubectl prints none.
//! - A user without credentials is anonymous and not asked for a name and a password. In a pod
//!   without a kubeconfig `--as` acts in the pod's own cluster, where kubectl looks for a server at
//!   localhost:8080.
//! - The exit code 1 of `get -w`, `logs -f`, `wait` and others that wait when Ctrl-C ends them,
//!   with which a shell's loop around them goes on: here the signal ends them (130 in a shell).
//! - `wait` looks at each object once, also when the time is over; kubectl then reports all objects
//!   as timed out. `expose` of several objects gives each Service its own selector and ports;
//!   kubectl gives all of them those of the first.
//! - `--record` writes CLASSIFIED in place of a token or password, and `scale --dry-run=server`
//!   records nothing; kubectl writes them.
//! - A list of objects is read whole before the first of them is changed, so failures to read are
//!   printed before failures to change. `deploy.v1.apps` means that version; kubectl forgets the
//!   version behind a short name.
//! - `describe` names no sources of the volume plugins of clouds and networks (`iscsi`, `rbd`, …),
//!   and prints CSINodes, ServiceCIDRs, IPAddresses and VolumeAttributesClasses as any other kind.
//! - A list of the server whose next page has expired is read again in one piece, unless `get`
//!   prints it; kubectl fails.
//! - A List in a List is taken apart; kubectl fails. A list in a manifest is a kind that ends with
//!   `List`; kubectl takes everything with a field `items` for one.
//! - `get`, `delete` and others work on a file whose core kind lacks its `apiVersion`; most verbs
//!   of kubectl find that kind, too, but then send a path without a version, which no server has.
//! - `--sort-by` sorts the rows of each of several resources or names; kubectl fails there.
//! - go-templates nest a hundred levels deep at most, ranges of a JSONPath 32. A whole number of a
//!   go-template is an `int64` (`%T`, errors) also where kubectl has an `int`: constants, lengths.
//! - A JSONPath with a `range` prints every object of a command (`-w`, several files) alike. After
//!   the first one kubectl forgets the template up to that range.
//! - The words of `KUBECTL_EXTERNAL_DIFF` all reach the program; kubectl drops those with other
//!   signs than letters, digits, `-` and `=`. Its output is printed when it has ended.
//! - kustomize: a label of an overlay that is for metadata alone changes no selector that its base
//!   made from the same label; kubectl changes that, too.
//! - In JSON an integer above 2^63 keeps its digits, and half of a surrogate pair (`"\ud800"`) is
//!   refused; kubectl rounds the one and replaces the other.
//! - `auth reconcile -n` is the namespace of a Role that names none; kubectl asks for that Role
//!   without a namespace. A profile (`--profile`) is not captured.
//! ## Read next
//! `apiserver`, which answers; `cmd/get.rs`, the verb to start with.

#![warn(missing_docs)]

mod beside;
mod builder;
mod cmd;
mod command;
pub mod complete;
mod csv;
mod ctx;
mod describe;
pub mod error;
mod file_names;
mod files;
pub mod flag;
mod glob;
mod go_path;
mod help;
mod info;
mod io;
pub mod kept;
mod kustomize;
mod lists;
pub mod machine;
pub mod manifest;
mod merge;
mod metadata;
mod output;
pub mod parse;
mod print;
mod scheme;
pub mod stdio;
pub mod table;
#[cfg(test)]
mod testing;
mod wire;

/// The version that `kubectl version --client` prints.
pub use api::VERSION;
pub use client::kubeconfig::Env;
pub use command::{INTERRUPTED, asks_a_server, may_be_plugin, run};
pub use io::{Io, Terminal};
pub use print::formats::print_template;
pub use stdio::main_with_stdio;
pub use wire::api::MANNER_MAX;
