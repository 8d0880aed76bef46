//! Component logs: what a component says with `tracing` goes into its own container's log, so
//! `kubectl logs` shows it.

use lang::in_words;
use parking_lot::Mutex;
use runtime::log::{Cutter, Log, Stream};
use std::collections::HashMap;
use std::env::VarError;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, prelude::*};

/// A log that has grown beyond this is moved aside, at the next start or while the cluster runs.
pub(super) const LOG_MAX: u64 = 10 << 20;
/// The filter of the logs unless `ROPEWALK_LOG` has another. Of the netlink library only errors: it
/// warns of each request that the kernel refuses, also of the removal of a wire that went with its
/// pod, and the caller decides anyway what a refusal means.
const USUAL: &str = "nlink=error,info";

/// Open logs by container id.
static SINKS: OnceLock<Mutex<HashMap<String, Arc<Sink>>>> = OnceLock::new();

struct Sink {
    log: Log,
    cutter: Mutex<Cutter>,
}

fn sinks() -> parking_lot::MutexGuard<'static, HashMap<String, Arc<Sink>>> {
    SINKS.get_or_init(Mutex::default).lock()
}

/// Sends events in [`span`] of this container to the log from now on.
pub(crate) fn open(container: &str, log: Log) {
    sinks().insert(container.into(), Arc::new(Sink { log, cutter: Mutex::new(Cutter::new(Stream::Stderr)) }));
}

pub(crate) fn close(container: &str) {
    sinks().remove(container);
}

/// The target of the spans of [`span`].
const COMPONENT: &str = "ropewalk::component";

/// Returns the span in which a component's tasks run. It has the highest level: a filter's own
/// bound, which is looked at before [`Chosen`], lets it pass whenever any event can pass.
pub(crate) fn span(container: &str) -> tracing::Span {
    tracing::error_span!(target: COMPONENT, "component", container)
}

/// Selects events by a filter, and lets the components' spans pass whatever it says: they lead an
/// event to its log, and do not say whether it is of interest.
struct Chosen(EnvFilter);

fn is_component(span: &Metadata<'_>) -> bool {
    span.is_span() && span.target() == COMPONENT
}

impl<S> Filter<S> for Chosen {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        is_component(metadata) || Filter::<S>::enabled(&self.0, metadata, context)
    }
    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = Filter::<S>::callsite_enabled(&self.0, metadata);
        if is_component(metadata) { Interest::always() } else { interest }
    }
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Filter::<S>::max_level_hint(&self.0)
    }
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_new_span(&self.0, attributes, id, context);
    }
    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        Filter::<S>::on_record(&self.0, id, values, context);
    }
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_enter(&self.0, id, context);
    }
    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Filter::<S>::on_exit(&self.0, id, context);
    }
    fn on_close(&self, id: Id, context: Context<'_, S>) {
        Filter::<S>::on_close(&self.0, id, context);
    }
}

/// Installs the subscriber: components into their logs, everything else to standard error, whose
/// file (`file`) has a bound. `ROPEWALK_LOG` filters (default [`USUAL`]).
pub(crate) fn install(file: Option<PathBuf>) {
    let (filter, wrong) = filter(std::env::var("ROPEWALK_LOG"));
    // A second install (in tests) changes nothing.
    let route = Route(file.map(Bound::new)).with_filter(Chosen(filter));
    let _ = tracing_subscriber::registry().with(route).try_init();
    if let Some(wrong) = wrong {
        tracing::warn!(wrong, using = USUAL, "ROPEWALK_LOG is no filter");
    }
}

/// Returns the filter that a variable holds, and what is wrong with it. An empty variable counts as
/// none: as a filter it would let errors alone pass, and `kubectl logs` of the components would be
/// empty.
fn filter(variable: Result<String, VarError>) -> (EnvFilter, Option<String>) {
    let parsed = match variable {
        Ok(text) if text.trim().is_empty() => Err(None),
        Ok(text) => EnvFilter::try_new(&text).map_err(|error| Some(format!("{text:?}: {error}"))),
        Err(VarError::NotPresent) => Err(None),
        Err(error) => Err(Some(error.to_string())),
    };
    parsed.map_or_else(|wrong| (EnvFilter::new(USUAL), wrong), |filter| (filter, None))
}

/// Empties a log and keeps the end of it beside it. It stays the same file: a cluster, its
/// supervisor and its zygote have it open.
///
/// # Errors
/// The log cannot be emptied. Without room for the copy the old text is lost, and the disk has room
/// again.
pub(crate) fn set_aside(file: &Path) -> std::io::Result<()> {
    let aside = file.with_extension("log.1");
    if copy_end(file, &aside).is_err() {
        let _ = fs::remove_file(&aside); // a part of it takes the room that is missing
    }
    fs::File::options().write(true).open(file)?.set_len(0)
}

/// Copies the last [`LOG_MAX`] bytes: an earlier program's log may be of any length.
fn copy_end(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut from = fs::File::open(from)?;
    let len = from.metadata()?.len();
    from.seek(SeekFrom::Start(len.saturating_sub(LOG_MAX)))?;
    std::io::copy(&mut from.take(LOG_MAX), &mut fs::File::create(to)?).map(drop)
}

struct Route(Option<Bound>);

/// The file behind standard error. It is set aside when it is full: a cluster may run for months.
struct Bound {
    file: PathBuf,
    len: Mutex<u64>,
}

impl Bound {
    fn new(file: PathBuf) -> Bound {
        let len = file.metadata().map_or(0, |file| file.len());
        Bound { file, len: Mutex::new(len) }
    }

    /// Notes that so many bytes were written.
    fn note(&self, written: usize) {
        let mut len = self.len.lock();
        *len += written as u64;
        if *len > LOG_MAX {
            *len = 0;
            let _ = set_aside(&self.file); // it may have been removed
        }
    }
}

#[derive(Default)]
struct Container(String);

impl Visit for Container {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "container" {
            self.0 = value.into();
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// A line as Kubernetes' components write it: `I0102 15:04:05.000000 1 where] "what" key="value"`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.push_str(value),
            name => drop(write!(self.fields, " {name}={:?}", in_words(value))),
        }
    }
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => drop(write!(self.message, "{value:?}")),
            name => drop(write!(self.fields, " {name}={:?}", in_words(&format!("{value:?}")))),
        }
    }
}

impl<S> Layer<S> for Route
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != "component" {
            return;
        }
        let mut container = Container::default();
        attributes.record(&mut container);
        if let (Some(span), Some(sink)) = (context.span(id), sinks().get(&container.0).cloned()) {
            span.extensions_mut().insert(sink);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let letter = match *event.metadata().level() {
            Level::ERROR => 'E',
            Level::WARN => 'W',
            Level::INFO => 'I',
            _ => 'D',
        };
        let now = clock::now();
        let stamp = now.strftime("%m%d %H:%M:%S%.6f");
        let place = event.metadata().target().replace("::", "/");
        let (message, fields) = (in_words(&line.message), line.fields);
        let text = format!("{letter}{stamp}       1 {place}] {message:?}{fields}\n");
        let sink = context
            .event_scope(event)
            .into_iter()
            .flatten()
            .find_map(|span| span.extensions().get::<Arc<Sink>>().cloned());
        match sink {
            Some(sink) => {
                let entries = sink.cutter.lock().cut(text.as_bytes(), now);
                let _ = sink.log.write(&entries); // a full disk must not end a component
            }
            // `eprint!` panics when it cannot write, and a full disk must not end the task that
            // logs either.
            None => {
                let _ = std::io::stderr().write_all(text.as_bytes());
                if let Some(bound) = &self.0 {
                    bound.note(text.len());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_reported_and_the_usual_one_counts() {
        let of = |text: &str| {
            let (filter, wrong) = filter(Ok(text.into()));
            (filter.to_string(), wrong.is_some())
        };
        assert_eq!(of("debug"), ("debug".into(), false));
        assert_eq!(of(" "), (USUAL.into(), false), "it is empty");
        assert_eq!(of("cluster=debug=x"), (USUAL.into(), true));
        assert_eq!(filter(Err(VarError::NotPresent)).1, None);
        assert!(filter(Err(VarError::NotUnicode("x".into()))).1.is_some());
    }

    /// Counts the events that pass its filter.
    struct Count(Arc<std::sync::atomic::AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Count {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn what_the_kernel_refuses_is_no_warning_of_its_own() {
        let seen = Arc::<std::sync::atomic::AtomicUsize>::default();
        let (usual, _) = filter(Err(VarError::NotPresent));
        let layer = Count(seen.clone()).with_filter(usual);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "nlink::netlink::connection", errno = -19, "refused");
            tracing::error!(target: "nlink::netlink::connection", "broken");
            tracing::info!("of a component");
        });
        assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    #[test]
    fn events_that_pass_a_filter_go_to_their_container_whatever_it_says_of_spans() {
        let dir = tempfile::tempdir().unwrap();
        for (container, text) in [("only-warnings", "warn"), ("only-raft", "raft=debug")] {
            let path = dir.path().join(container);
            open(container, Log::open(&path, Default::default()).unwrap());
            let layer = Route(None).with_filter(Chosen(EnvFilter::new(text)));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                span(container).in_scope(|| {
                    tracing::warn!(target: "raft", "the disk is full");
                    tracing::info!(target: "etcd", "ready");
                });
            });
            close(container);
            let log = fs::read_to_string(&path).unwrap();
            assert!(log.contains("the disk is full") && !log.contains("ready"), "{text}: {log:?}");
        }
    }

    #[test]
    fn an_error_of_the_api_is_logged_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("watches");
        open("watches", Log::open(&path, Default::default()).unwrap());
        let layer = Route(None).with_filter(Chosen(EnvFilter::new("info")));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            span("watches").in_scope(|| {
                let status =
                    serde_json::json!({"status": "Failure", "code": 403, "message": "jobs are forbidden"});
                let error = kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()));
                tracing::warn!(target: "kube_runtime::watcher", "watch list error with 403: {error:?}");
                tracing::warn!(%error, "trying again");
            });
        });
        close("watches");
        let log = fs::read_to_string(&path).unwrap();
        assert!(log.contains("403: jobs are forbidden\"") && !log.contains("Status {"), "{log:?}");
        assert_eq!(log.matches("jobs are forbidden").count(), 2, "{log:?}");
    }

    /// `key="Key { name: "a" }"` ends too early for a program that reads such lines, and a line
    /// break makes an entry of its own.
    #[test]
    fn a_value_with_quotes_and_line_breaks_is_one_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quotes");
        open("quotes", Log::open(&path, Default::default()).unwrap());
        let layer = Route(None).with_filter(Chosen(EnvFilter::new("info")));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            span("quotes").in_scope(|| {
                let (key, error) = (("kube-system", "coredns"), "one\ntwo");
                tracing::warn!(?key, %error, count = 5, "trying again");
            });
        });
        close("quotes");
        let log = fs::read_to_string(&path).unwrap();
        let line = r#""trying again" key="(\"kube-system\", \"coredns\")" error="one\ntwo" count="5""#;
        assert!(log.contains(line) && log.lines().count() == 1, "{log:?}");
    }

    #[test]
    fn the_log_of_a_cluster_that_runs_for_months_has_a_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ropewalk.log");
        let mut log = fs::File::options().create(true).append(true).open(&path).unwrap();
        log.write_all(b"one\n").unwrap();
        let bound = Bound::new(path.clone());
        bound.note(LOG_MAX as usize - 4);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n", "it is not full yet");
        bound.note(1);
        log.write_all(b"two\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n", "a process that has it open goes on in it");
        assert_eq!(fs::read_to_string(dir.path().join("ropewalk.log.1")).unwrap(), "one\n");
        // One of an earlier program, which had no bound.
        log.set_len(2 * LOG_MAX).unwrap();
        log.write_all(b"end").unwrap();
        set_aside(&path).unwrap();
        let aside = fs::read(dir.path().join("ropewalk.log.1")).unwrap();
        assert!(aside.len() as u64 == LOG_MAX && aside.ends_with(b"end"));
        assert_eq!(path.metadata().unwrap().len(), 0);
        fs::remove_file(&path).unwrap();
        bound.note(LOG_MAX as usize + 1);
        assert!(!path.exists(), "it was removed, and stays so");
    }

    const INSIDE: &str = "ROPEWALK_TEST_FULL_LOG";

    /// Runs itself with a standard error to which nothing can be written. A task that panics there
    /// would be dead for good: a kubelet, the balancer.
    #[test]
    fn a_full_disk_under_the_log_ends_no_task() {
        if std::env::var_os(INSIDE).is_some() {
            install(None);
            tracing::error!("a line that cannot be written");
            return;
        }
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ended = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "logs::tests::a_full_disk_under_the_log_ends_no_task", "--nocapture"])
            .env(INSIDE, "1")
            .stdout(std::process::Stdio::null())
            .stderr(full)
            .status();
        assert!(ended.unwrap().success());
    }
}
