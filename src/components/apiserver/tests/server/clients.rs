//! Real clients, and clients that ask for too much or send too slowly.

use super::*;

/// Every kubectl on PATH does a day's work. None there: nothing to compare.
#[tokio::test(flavor = "multi_thread")]
async fn real_kubectls_cannot_tell_the_difference() {
    let api = Api::new().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("kubeconfig"), &api.fixture.kubeconfig).unwrap();
    let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {a: '1'}\n";
    std::fs::write(dir.path().join("m.yaml"), manifest).unwrap();
    for kubectl in kubectls() {
        let run = async |args: &str| {
            let mut command = tokio::process::Command::new(&kubectl);
            command
                .args(args.split(' '))
                .current_dir(dir.path())
                .env("HOME", dir.path())
                .env("KUBECONFIG", dir.path().join("kubeconfig"));
            let done = tokio::time::timeout(Duration::from_secs(30), command.output())
                .await
                .expect("kubectl ends")
                .unwrap();
            (
                done.status.success(),
                String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned(),
            )
        };
        for (args, want) in [
            ("create deployment web --image=nginx --replicas=2", "deployment.apps/web created"),
            ("get deployments", "web    0/2     0            0"),
            ("scale deployment web --replicas=3", "scaled"),
            ("set image deployment/web nginx=nginx:1.27", "image updated"),
            ("expose deployment web --port=80", "service/web exposed"),
            ("apply -f m.yaml", "configmap/applied created"),
            ("apply -f m.yaml", "configmap/applied unchanged"),
            ("apply --server-side --force-conflicts -f m.yaml", "serverside-applied"),
            ("label configmap applied x=y", "labeled"),
            ("get configmap applied -o jsonpath={.metadata.labels.x}", "y"),
            ("describe deployment web", "RollingUpdateStrategy:  25% max unavailable, 25% max surge"),
            ("explain deployment.spec.replicas", "Number of desired pods"),
            ("auth can-i create pods", "yes"),
            ("run p --image=nginx", "pod/p created"),
            ("wait --for=jsonpath={.status.phase}=Pending pod/p --timeout=5s", "condition met"),
            ("delete pod p", "deleted"),
            ("delete deployment,service web", "deleted"),
            ("delete -f m.yaml", "deleted"),
        ] {
            let (ok, text) = run(args).await;
            assert!(ok && text.contains(want), "{} {args}: {text}", kubectl.display());
        }
    }
}

fn kubectls() -> Vec<std::path::PathBuf> {
    let Some(found) = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|d| d.join("kubectl"))
        .find(|k| k.exists())
    else {
        return vec![];
    };
    let real = found.canonicalize().unwrap_or(found);
    let mut all = vec![real.clone()];
    for minor in [27, 29, 31, 33] {
        let sibling = real.with_file_name(format!("kubectl.1.{minor}"));
        all.extend(sibling.exists().then_some(sibling));
    }
    all
}

/// Serves until killed, for trying real clients by hand: `ROPEWALK_DEV_API=dir cargo test -p
/// apiserver --lib dev_server`.
#[tokio::test(flavor = "multi_thread")]
async fn dev_server() {
    let Some(dir) = std::env::var_os("ROPEWALK_DEV_API") else { return };
    std::fs::create_dir_all(&dir).unwrap();
    let _fixture = testing::start(dir.as_ref()).await;
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn floods_get_429_and_the_cluster_goes_on() {
    use crate::flowcontrol::bounds::{READING_MAX, WRITING_MAX};
    use http_body_util::StreamBody;
    let api = Api::new().await;
    let bob = User::new("bob", &[]);
    grant(&api, "bob", "default", json!([rule("", &["configmaps"], &["*"])])).await;
    assert_eq!(
        api.post(CM, json!({"metadata": {"name": "big"}, "data": {"n": "x".repeat(20_000)}})).await.0,
        201
    );
    let list = || api.fixture.server.call(request("GET", CM, "", ""), bob.clone());
    // Answers that are not read keep their place. One user has half of the places.
    let mut unread = vec![];
    for n in 0..READING_MAX / 2 {
        let answer = list().await;
        assert_eq!(answer.status(), 200, "{n}");
        unread.push(answer);
    }
    let answer = list().await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    let status: Value =
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(
        (&status["reason"], &status["message"], &status["details"]["retryAfterSeconds"]),
        (&json!("TooManyRequests"), &json!("Too many requests, please try again later."), &json!(1))
    );
    // Not for the cluster's own, for watches, or for health checks; and writes have a bound of
    // their own.
    let ask = |path: &str| request("GET", path, "", "");
    assert_eq!(api.get(CM).await.0, 200);
    assert_eq!(api.send(User::new("system:kube-scheduler", &[]), ask("/version")).await.0, 200);
    let watch = api.fixture.server.call(ask(&format!("{CM}?watch=true")), bob.clone()).await;
    assert_eq!(watch.status(), 200);
    assert_eq!(api.send(User::anonymous(), ask("/readyz")).await.0, 200);
    let write = |n: &str| request("POST", CM, "application/json", cm(n, "1").to_string());
    assert_eq!(api.send(bob.clone(), write("a")).await.0, 201);
    // Read to the end, they are whole, and their places are free.
    let first = unread.pop().unwrap();
    let length = ::http_body::Body::size_hint(first.body()).exact().unwrap();
    assert_eq!(first.into_body().collect().await.unwrap().to_bytes().len() as u64, length);
    assert_eq!(list().await.status(), 200);
    drop(unread);
    // Requests whose bodies never end hold memory and no place: here are more than may write at a
    // time.
    let server = &api.fixture.server;
    let slow: Vec<_> = (0..WRITING_MAX + 10)
        .map(|_| {
            let body = StreamBody::new(futures::stream::pending()).boxed_unsync();
            let asked = Request::builder().method("POST").uri(CM).body(body).unwrap();
            tokio::spawn({
                let (server, bob) = (server.clone(), bob.clone());
                async move { server.call(asked, bob).await }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    assert_eq!(api.send(bob.clone(), write("b")).await.0, 201);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    let (_, metrics) = api.get("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("apiserver_dropped_requests_total 1"), "{metrics}");
}

#[tokio::test]
async fn bodies_share_a_bound_of_memory() {
    use ::http_body::Frame;
    use futures::StreamExt;
    use http_body_util::StreamBody;
    let api = Api::new().await;
    let bob = User::new("bob", &[]);
    grant(&api, "bob", "default", json!([rule("", &["configmaps"], &["*"])])).await;
    let (sent, arrived) = (Bytes::from(vec![b' '; 3 << 20]), Arc::new(tokio::sync::Semaphore::new(0)));
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let (sent, arrived) = (sent.clone(), arrived.clone());
            let piece = futures::stream::once(async move { Ok(Frame::data(sent)) });
            let rest = futures::stream::once(async move {
                arrived.add_permits(1);
                std::future::pending().await
            });
            let body = StreamBody::new(piece.chain(rest)).boxed_unsync();
            let asked = Request::builder().method("POST").uri(CM).body(body).unwrap();
            let (server, bob) = (api.fixture.server.clone(), bob.clone());
            tokio::spawn(async move { server.call(asked, bob).await.status() })
        })
        .collect();
    let _ = arrived.acquire_many(10).await.unwrap();
    let big = json!({"metadata": {"name": "b"}, "data": {"n": "x".repeat((1 << 20) + 10)}}).to_string();
    let post = |user: User, body: String| api.send(user, request("POST", CM, "application/json", body));
    let (code, status) = post(bob.clone(), format!("{big}{}", " ".repeat(1 << 20))).await;
    assert_eq!(code, 429, "{status}");
    assert_eq!(post(bob.clone(), cm("small", "1").to_string()).await.0, 201, "there is room for a small one");
    assert_eq!(
        post(admin(), big).await.0,
        422,
        "the cluster's own are not held up: only its size is refused"
    );
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    for one in slow {
        let _ = one.await;
    }
    assert_eq!(post(bob, cm("after", "1").to_string()).await.0, 201);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    use crate::flowcontrol::bounds::Bounds;
    use crate::request::info::Info;
    let body = http_body_util::StreamBody::new(futures::stream::pending()).boxed_unsync();
    let asked = Request::builder().method("POST").uri(CM).body(body).unwrap();
    let info = Info { verb: "create".into(), is_resource: true, ..Info::default() };
    let start = tokio::time::Instant::now();
    let seat = crate::flowcontrol::seat::Seat::new(None);
    let refused = Bounds::default().read(&User::new("bob", &[]), &info, &seat, asked).await.err().unwrap();
    assert_eq!((refused.code, start.elapsed().as_secs()), (408, 60));
}
