use super::*;
use crate::format::Library;

#[test]
fn only_what_a_lesson_makes_or_deletes_is_named_by_it() {
    let web = "deployments.apps/default/web";
    for (line, found) in [
        ("-kubectl create deployment dpy-nginx --image=nginx", vec!["deployments.apps/default/dpy-nginx"]),
        (
            "kubectl delete service pod-svc door --ignore-not-found",
            vec!["services/default/pod-svc", "services/default/door"],
        ),
        ("kubectl create deployment web --image=nginx >/dev/null 2>&1", vec![web]),
        ("kubectl delete pod web; kubectl get pods", vec!["pods/default/web"]),
        ("kubectl delete pod/web svc/web", vec!["pods/default/web", "services/default/web"]),
        ("kubectl delete deployments.v1.apps web", vec![web]),
        ("kubectl delete pods.v1. web", vec!["pods/default/web"]),
        ("kubectl delete deployments.v1.example.com web", vec![]),
        ("kubectl delete deployment,replicaset,pod -l app=dpy-nginx --now", vec![]),
        ("-kubectl run tester --image=busybox -- sleep infinity", vec!["pods/default/tester"]),
        ("kubectl run --image nginx web", vec!["pods/default/web"]),
        ("timeout 5 kubectl run web --image=nginx", vec!["pods/default/web"]),
        ("-KUBECONFIG=a.yaml timeout 5 kubectl delete pod web", vec!["pods/default/web"]),
        ("ropewalk kubectl delete pod web", vec!["pods/default/web"]),
        ("delete pod web", vec!["pods/default/web"]),
        ("echo kubectl delete pod web", vec![]),
        ("kubectl exec web -- kubectl delete pod other", vec![]),
        (
            "kubectl run web --image=nginx --port=80 --expose",
            vec!["pods/default/web", "services/default/web"],
        ),
        (
            "kubectl expose pod nginx-pod --type NodePort --name pod-svc --port 80",
            vec!["services/default/pod-svc"],
        ),
        ("kubectl expose deployment/web --port=80", vec!["services/default/web"]),
        (
            "kubectl autoscale deployment/web --max=3 --cpu=50%",
            vec!["horizontalpodautoscalers.autoscaling/default/web"],
        ),
        (
            "kubectl autoscale deployment web -n shop --name busy --max 3",
            vec!["horizontalpodautoscalers.autoscaling/shop/busy"],
        ),
        ("kubectl create service clusterip menu -n shop --tcp=80:80", vec!["services/shop/menu"]),
        ("kubectl create namespace shop", vec!["namespaces//shop"]),
        ("kubectl create deployment web --dry-run=client -o yaml | grep -v null > web.yaml", vec![web]),
        ("kubectl delete $(kubectl get pods -o name | head -1)", vec![]),
        ("PORT=$(kubectl get svc pod-svc)", vec![]),
        ("kubectl get pods web", vec![]),
    ] {
        assert_eq!(names_in(line, ""), found, "{line}");
    }
    let manifest = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n---\nkind: Pod\napiVersion: v1\nmetadata: {name: x, namespace: shop}\n";
    assert_eq!(names_in("kubectl apply -f -", manifest), [web, "pods/shop/x"]);
    let list = "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Pod, metadata: {name: x}}]";
    assert_eq!(names_in("kubectl apply -n shop -f -", list), ["pods/shop/x"]);
    let library = Library::built_in();
    let of = |id: &str| of_lesson(library.get(id).unwrap());
    assert_eq!(of("first-voyage/04"), ["pods/default/nginx-pod".to_string()].into());
    let twelfth = of("first-voyage/12");
    assert!(twelfth.contains(web), "{twelfth:?}");
    // The same name of another kind, group or namespace is something else.
    for other in ["services/default/web", "deployments.example.com/default/web", "deployments.apps/shop/web"]
    {
        assert!(!twelfth.contains(other), "{other}");
    }
}

#[test]
fn what_is_made_from_a_file_of_a_here_document_is_named() {
    let head = ["cat > a.yaml <<'END'", "apiVersion: v1", "kind: Pod", "metadata: {name: a}", "END"];
    let with = |line: &str| head.iter().chain(&[line]).map(ToString::to_string).collect::<Vec<_>>();
    let pod = BTreeSet::from(["pods/shop/a".to_string()]);
    let made_by = with("kubectl apply -n shop -f a.yaml");
    assert_eq!((made_or_deleted(&made_by), made(&made_by)), (pod.clone(), pod.clone()));
    assert_eq!(namespaces(&made_by), Some(BTreeSet::from(["shop".to_string()])));
    let deleted_by = with("kubectl delete -n shop -f a.yaml");
    assert_eq!((made_or_deleted(&deleted_by), made(&deleted_by)), (pod, BTreeSet::new()));
    assert_eq!(made_or_deleted(&with("kubectl get -n shop -f a.yaml")), BTreeSet::new());
    let role = ["cat > a.yaml <<'END'", "kind: ClusterRole", "metadata: {name: a}", "END"];
    let version = "apiVersion: rbac.authorization.k8s.io/v1";
    let reconciled = [&role[..1], &[version], &role[1..], &["kubectl auth reconcile -f a.yaml"]].concat();
    let reconciled: Vec<String> = reconciled.into_iter().map(String::from).collect();
    assert_eq!(namespaces(&reconciled), None, "its ClusterRole is in no namespace");
}

#[test]
fn what_a_line_deletes_it_does_not_make() {
    let of = |line: &str| made_new(&[line.to_string()]).into_iter().collect::<Vec<_>>().join(" ");
    for line in [
        "kubectl delete configmap old",
        "kubectl -n default delete configmap old --ignore-not-found",
        "k --namespace=default delete configmap/old",
        "delete configmap old",
    ] {
        assert_eq!(of(line), "", "{line}");
    }
    assert_eq!(of("kubectl -n shop create configmap delete"), "configmaps/shop/delete");
    assert_eq!(of("kubectl create namespace delete"), "namespaces//delete");
}

#[test]
fn lines_stay_in_the_namespaces_that_they_name() {
    let of = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        namespaces(&lines).map(|found| found.into_iter().collect::<Vec<_>>().join(" "))
    };
    for (lines, found) in [
        (&["kubectl create namespace shop", "kubectl set selector svc/web -n shop a=b"][..], Some("shop")),
        (&["-kubectl run tester --image=busybox -- sleep infinity"], Some("default")),
        (&["kubectl get pods -A", "kubectl wait -n shop pod/a --for=delete"], Some("")),
        (&["kubectl delete replicaset -n shop --all"], Some("shop")),
        (&["kubectl get svc a -n shop -o yaml | sed s/a/b/ | kubectl replace -n shop -f -"], Some("shop")),
        (&["kubectl delete namespace shop"], Some("shop")),
        (&["kubectl label namespace shop a=b"], Some("shop")),
        (&["kubectl label namespace/shop pod-security.kubernetes.io/enforce=baseline"], Some("shop")),
        (&["kubectl annotate ns/shop ns/market a- b=c"], Some("market shop")),
        (&["kubectl label ns shop market a=b"], Some("market shop")),
        (&["kubectl label namespaces -l a=b pod-security.kubernetes.io/enforce=baseline"], None),
        (&["kubectl label namespaces --all a=b"], None),
        (&["kubectl label ns/shop node/n1 a=b"], None),
        (&["kubectl label pod/web node/n1 a=b"], None),
        (&["kubectl label pods,nodes --all a=b"], None),
        (&["kubectl exec web -n shop -- node server.js", "kubectl exec ns -- ls pv"], Some("default shop")),
        (&["fault kill etcd", "curl localhost:30080", "which kubectl", "echo kubectl cordon n1"], Some("")),
        (
            &["kubectl apply -f -", "apiVersion: v1", "kind: Pod", "metadata: {name: a, namespace: x}", "."],
            Some("x"),
        ),
        (&["kubectl apply -f -", "apiVersion: v1", "kind: Node", "metadata: {name: a}", "."], None),
        (&["kubectl rollout status -n kube-system ds/kube-proxy", "kubectl api-resources"], Some("")),
        (&["kubectl auth can-i list nodes", "kubectl apply view-last-applied node/n1"], Some("")),
        (&["kubectl rollout $DO deploy/web -n shop"], Some("shop")),
        (&["kubectl config set-context --current --namespace=shop"], Some("shop")),
        (&["kubectl certificate approve kim"], None),
        (&["kubectl set subject clusterrolebinding b --user=kim"], None),
        (&["kubectl cordon n1"], None),
        (&["kubectl get pods; kubectl cordon n1"], None),
        (&["kubectl get pods&&kubectl delete pod a -n shop"], Some("shop")),
        (&["kubectl exec a -- sh -c 'true; kubectl cordon n1'"], Some("default")),
        (&["kubectl label node n1 a=b"], None),
        (&["kubectl delete pods -A --all"], None),
        (&["kubectl create clusterrole r --verb=get --resource=pods"], None),
        (&["kubectl get pods", "undo"], None),
        (&["etcdctl put a b"], None),
        (&["timeout 5 etcdctl put a b"], None),
        (&["kubectl exec etcd-0 -n shop -- etcdctl get a"], Some("shop")),
        (&["kubectl $DO pod a"], None),
        (&["grep kubectl notes.txt", "command -v kubectl > /dev/null", "which etcdctl"], Some("")),
        (&["KUBECONFIG=mine.yaml timeout 5 kubectl delete pod a -n shop"], Some("shop")),
        (&["kubectl get nodes -o name | xargs kubectl cordon"], None),
        (&["ropewalk kubectl -n shop delete pod a", "ropewalk trace pod/a"], Some("shop")),
        (&["ropewalk undo"], None),
        (&["kubectl create configmap kubectl", "create configmap k -n shop"], Some("default shop")),
    ] {
        assert_eq!(of(lines).as_deref(), found, "{lines:?}");
    }
}

#[test]
fn a_way_back_takes_back_what_is_in_the_lessons_namespaces() {
    let library = Library::built_in();
    let lesson = library.get("first-voyage/04").unwrap();
    let mut whole = lesson.clone();
    whole.steps[0].solution.push("kubectl cordon n1".into());
    for (line, of_lesson) in [
        ("kubectl run other --image=nginx", true),
        ("kubectl get nodes", true),
        ("kubectl label node --all a=b", false),
        ("kubectl create configmap a -n kube-public", false),
    ] {
        let lines = [line.to_string()];
        assert_eq!((takes_back(lesson, &lines), takes_back(&whole, &lines)), (of_lesson, true), "{line}");
    }
}

#[test]
fn a_recorded_object_is_known_by_its_group() {
    let body = |version: &str| serde_json::json!({ "apiVersion": version }).to_string();
    let of = |plural: &str, version: &str| resource(plural, Some(body(version).as_bytes()));
    assert_eq!(of("deployments", "apps/v1"), "deployments.apps");
    assert_eq!(of("deployments", "example.com/v1"), "deployments.example.com");
    assert_eq!(of("pods", "v1"), "pods");
    assert_eq!(
        (resource("deployments", None).as_str(), resource("pods", None).as_str()),
        ("deployments.apps", "pods")
    );
}

#[test]
fn names_that_controllers_draw_are_told_from_others() {
    let of = |resource: &str, name: &str| -> Vec<String> {
        owners(resource, name).into_iter().map(|(kind, name)| format!("{kind}/{name}")).collect()
    };
    assert_eq!(of("replicasets.apps", "dpy-nginx-657f4db74"), ["deployments.apps/dpy-nginx"]);
    let pod = of("pods", "dpy-nginx-657f4db74-x2x9q");
    assert_eq!(pod, ["deployments.apps/dpy-nginx", "replicasets.apps/dpy-nginx-657f4db74"]);
    for (resource, name) in [
        ("deployments.apps", "web-2"),
        ("pods", "web-2"),
        ("pods", "web-bright"),
        ("services", "web-657f4db74"),
    ] {
        assert!(of(resource, name).is_empty(), "{resource}/{name}");
    }
}
