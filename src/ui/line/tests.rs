use super::*;

fn kubectl(args: &[&str]) -> Line {
    Line::Kubectl(args.iter().map(ToString::to_string).collect())
}
fn shell(text: &str) -> Line {
    Line::Shell(text.into())
}
fn of(text: &str) -> Line {
    classify(text, "main")
}

#[test]
fn kubectl_has_three_spellings() {
    for text in ["kubectl get pods -A", "k get pods -A", "get pods -A", "  get  pods   -A # all"] {
        assert_eq!(of(text), kubectl(&["get", "pods", "-A"]), "{text}");
    }
    assert_eq!(of("kubectl"), kubectl(&[]));
    assert_eq!(of("k exec web -- ls /"), kubectl(&["exec", "web", "--", "ls", "/"]));
    assert_eq!(
        of("get pod web -o jsonpath='{.status.podIP} \"$x|\"'"),
        kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.podIP} \"$x|\""])
    );
    for lines in ["create ns \"a \\\nb\"", "create ns \\\n'a b'"] {
        assert_eq!(of(lines), kubectl(&["create", "ns", "a b"]), "{lines}");
    }
    assert_eq!(of("create ns 'a \\\nb'"), kubectl(&["create", "ns", "a \\\nb"]));
    assert_eq!(
        of(r#"create configmap c --from-literal=a="b c" x\ y"#),
        kubectl(&["create", "configmap", "c", "--from-literal=a=b c", "x y"])
    );
}

#[test]
fn what_only_a_shell_can_do_goes_to_the_shell_already_expanded() {
    assert_eq!(of("get pods | grep web"), shell("kubectl get pods | grep web"));
    assert_eq!(of("k get pods > out"), shell("kubectl get pods > out"));
    assert_eq!(of("delete pod $POD"), shell("kubectl delete pod $POD"));
    assert_eq!(of("delete pod \"$POD\""), shell("kubectl delete pod \"$POD\""));
    assert_eq!(of("apply -f ~/a.yaml"), shell("kubectl apply -f ~/a.yaml"));
    assert_eq!(of("apply -f *.yaml"), shell("kubectl apply -f *.yaml"));
    assert_eq!(of("delete pod web-{1,2}"), shell("kubectl delete pod web-{1,2}"));
    assert_eq!(of("delete pod web-{1..3}"), shell("kubectl delete pod web-{1..3}"));
    for braces in ["{.items}", "{}", "{a}"] {
        assert_eq!(
            of(&format!("get pods -o jsonpath={braces}")),
            kubectl(&["get", "pods", "-o", &format!("jsonpath={braces}")])
        );
    }
    assert_eq!(of("delete pod 'web-{1,2}'"), kubectl(&["delete", "pod", "web-{1,2}"]));
    assert_eq!(of("status -o json | jq ."), shell("ropewalk status --name main -o json | jq ."));
    assert_eq!(of("delete pod a; undo"), shell("kubectl delete pod a; ropewalk undo --name main"));
    assert_eq!(of("! true; why"), shell("! true; ropewalk why --name main"));
    assert_eq!(of("!true; undo"), shell("true; undo"));
    assert_eq!(of("cat <<EOF\nkubectl\nEOF"), shell("cat <<EOF\nkubectl\nEOF"));
    assert_eq!(of("ls"), shell("ls"));
    assert_eq!(of("!get pods"), shell("get pods"));
    assert_eq!(of("FOO=1 kubectl get pods"), shell("FOO=1 kubectl get pods"));
    assert_eq!(of("'help'"), shell("'help'"));
}

#[test]
fn words_that_a_shell_expands_are_left_to_it() {
    for text in [
        "patch deploy web -p {\"spec\":1,\"b\":2}",
        "delete pod {\"a\",b}",
        "delete pod {a\\,b,c}",
        "delete pod {a}b,c}",
        "delete pod {a,{b}}",
        "create configmap c --from-literal HOME=~/x",
        "set env deploy/web PATH=/bin:~/bin",
    ] {
        assert_eq!(of(text), shell(&format!("kubectl {text}")), "{text}");
    }
    for (text, last) in [
        ("get pods -o jsonpath={.a}{\",\"}{.b}", "jsonpath={.a}{,}{.b}"),
        ("get pods -o {a,b", "{a,b"),
        ("get pods -o jsonpath={.a},{.b}", "jsonpath={.a},{.b}"),
        ("get pods -o go-template={{.a}},{{.b}}", "go-template={{.a}},{{.b}}"),
        ("get pods -o a~", "a~"),
    ] {
        assert_eq!(of(text), kubectl(&["get", "pods", "-o", last]), "{text}");
    }
}

/// POSIX, XCU 2.9.2: a pipeline behind `!` has the opposite exit code.
#[test]
fn a_negation_stays_one() {
    assert_eq!(of("! true"), shell("! true"));
    assert_eq!(of("!  kubectl get pod web"), shell("! kubectl get pod web"));
    assert_eq!(of("! get pod web"), shell("! kubectl get pod web"));
    assert_eq!(of("! status"), shell("! ropewalk status --name main"));
    assert_eq!(of("! exit 3"), shell("! exit 3"));
    assert!(is_forced(" !get pods") && !is_forced("! get pods") && !is_forced("get pods"));
}

/// POSIX, XCU 2.3: an operator ends a word.
#[test]
fn an_operator_ends_the_first_word() {
    assert_eq!(of("status|cat"), shell("ropewalk status --name main|cat"));
    assert_eq!(of("k>out get pods"), shell("kubectl>out get pods"));
    assert_eq!(of("events|wc -l"), shell("kubectl events|wc -l"));
    for text in ["'status|cat'", "status\\|cat", "status() { :; }", "2>out status", "ls|cat", "exit 1 2"] {
        assert_eq!(of(text), shell(text), "{text}");
    }
}

/// A script that was cut off in `-l 'app=old'` must not delete all pods with the label `app`.
#[test]
fn a_quote_that_is_not_closed_is_left_to_the_shell_which_refuses_it() {
    for (text, whole) in [
        ("delete pods -l 'app", "kubectl delete pods -l 'app"),
        ("k delete pod \"web", "kubectl delete pod \"web"),
        ("exec -it web -- 'sh", "kubectl exec -it web -- 'sh"),
        (
            "annotate pod web note='it's here'\nget pods",
            "kubectl annotate pod web note='it's here'\nget pods",
        ),
        ("delete pod a\"b\\\"", "kubectl delete pod a\"b\\\""),
        ("undo 'x", "ropewalk undo --name main 'x"),
        ("ropewalk reset '", "ropewalk reset --name main '"),
        ("exit '", "exit '"),
        ("next '", "next '"),
        ("다음 '", "다음 '"),
    ] {
        assert_eq!(of(text), shell(whole), "{text}");
    }
    assert_eq!(of("get pod 'a' \"b\" # it's"), kubectl(&["get", "pod", "a", "b"]));
}

#[test]
fn verbs_that_are_shell_commands_stay_so() {
    for text in ["cp a b", "diff a b", "exec bash", "set -e", "top", "wait", "watch ls"] {
        assert_eq!(of(text), shell(text), "{text}");
    }
    assert_eq!(of("k diff -f a.yaml"), kubectl(&["diff", "-f", "a.yaml"]));
}

#[test]
fn what_only_kubectl_can_mean_is_kubectls() {
    assert_eq!(of("exec web -- ls /"), kubectl(&["exec", "web", "--", "ls", "/"]));
    assert_eq!(of("exec -it web -- sh"), Line::Foreground("kubectl exec -it web -- sh".into()));
    assert_eq!(of("set image deploy/web web=nginx"), kubectl(&["set", "image", "deploy/web", "web=nginx"]));
    assert_eq!(of("wait pod web --for=delete"), kubectl(&["wait", "pod", "web", "--for=delete"]));
    assert_eq!(of("diff -f a.yaml"), kubectl(&["diff", "-f", "a.yaml"]));
    assert_eq!(of("top pods"), kubectl(&["top", "pods"]));
    for text in ["set image", "exec -- ls", "wait 123", "diff -f a b", "top -b"] {
        assert_eq!(of(text) == shell(text), text != "set image", "{text}");
    }
}

#[test]
fn programs_that_take_the_terminal_run_on_it() {
    assert_eq!(of("edit deploy web"), Line::Foreground("kubectl edit deploy web".into()));
    assert_eq!(of("k exec -it web -- sh"), Line::Foreground("kubectl exec -it web -- sh".into()));
    assert_eq!(
        of("run t --image=busybox --stdin --tty"),
        Line::Foreground("kubectl run t --image=busybox --stdin --tty".into())
    );
    for text in [
        "kubectl -n shop exec -it web -- sh",
        "kubectl --context other --as jane attach -i web",
        "kubectl exec -n shop web -it -- sh",
        "kubectl -n shop edit deploy web",
        "kubectl --namespace=shop delete pod web -i",
        "kubectl apply edit-last-applied deploy web",
        "kubectl create -f web.yaml --edit",
        "kubectl ctx",
        "kubectl apply -f /dev/stdin",
        "kubectl create configmap c --from-file=/dev/stdin",
        "kubectl node-shell worker",
        "kubectl create thing a",
    ] {
        assert_eq!(of(text), Line::Foreground(text.into()), "{text}");
    }
    assert_eq!(of("k -n edit get pods"), kubectl(&["-n", "edit", "get", "pods"]));
    assert_eq!(of("k exec web --tty=false -- ls"), kubectl(&["exec", "web", "--tty=false", "--", "ls"]));
    for text in ["create -f - --edit", "ctx -f -", "aply -f -", "create -f web.yaml", "-n shop ctx"] {
        let words: Vec<&str> = text.split(' ').collect();
        assert_eq!(of(&format!("k {text}")), kubectl(&words), "{text}");
    }
    assert_eq!(of("k exec web -- ls -it"), kubectl(&["exec", "web", "--", "ls", "-it"]));
    let of_container = kubectl(&["exec", "web", "--", "cat", "/dev/stdin"]);
    assert_eq!(of("k exec web -- cat /dev/stdin"), of_container);
    assert_eq!(of("run t --image=busybox"), kubectl(&["run", "t", "--image=busybox"]));
}

#[test]
fn words_of_this_place() {
    let own = |args: &[&str]| Line::Own(args.iter().map(ToString::to_string).collect());
    assert_eq!(of("status"), own(&["status", "--name", "main"]));
    assert_eq!(of("fault kill etcd"), own(&["fault", "--name", "main", "kill", "etcd"]));
    assert_eq!(of("trace --name x LAST"), own(&["trace", "--name", "x", "LAST"]));
    assert_eq!(of("etcdctl get a"), own(&["etcdctl", "--name", "main", "get", "a"]));
    let piped = "ropewalk etcdctl --name main get a | wc -l".to_string();
    assert_eq!(of("etcdctl get a | wc -l"), Line::Shell(piped));
    assert_eq!(of("doctor"), own(&["doctor"]));
    assert_eq!(of("ropewalk status"), of("status"));
    assert_eq!(of("ropewalk version"), own(&["version"]));
    assert_eq!(of("ropewalk lang ko"), of("lang ko"));
    assert_eq!(of("ropewalk lang"), Line::Lang(vec![]));
    assert_eq!(of("ropewalk lang --help"), own(&["lang", "--help"]));
    assert_eq!(of("quit"), Line::Quit);
    assert_eq!(of("exit 3"), Line::Exit(Some("3".into())));
    assert_eq!(of("undo 2"), own(&["undo", "--name", "main", "2"]));
    assert_eq!(of("drill show | cat"), Line::Shell("ropewalk drill --name main show | cat".into()));
    assert_eq!(of("lab start x --seed 7"), own(&["lab", "--name", "main", "start", "x", "--seed", "7"]));
    assert_eq!(of("watch"), Line::Watch);
    assert_eq!(of("help get"), Line::Help(vec!["get".into()]));
    for nothing in ["", "   ", "# a remark"] {
        assert_eq!(of(nothing), Line::Empty);
    }
}

#[test]
fn lessons_have_words_of_their_own_on_either_keyboard_layout() {
    let lesson = |words: &[&str]| Line::Lesson(words.iter().map(ToString::to_string).collect());
    assert_eq!(of("next"), lesson(&["next"]));
    assert_eq!(of("lesson first-voyage/04"), lesson(&["lesson", "first-voyage/04"]));
    assert_eq!(of("ㅜㄷㅌㅅ"), lesson(&["next"]));
    assert_eq!(of("촏차"), lesson(&["check"]));
    assert_eq!(of("힌트"), lesson(&["hint"]));
    let answer = |text: &str| Line::Answer(text.into());
    for text in ["answer 10.244.1.7", "답 10.244.1.7", "ㅁㅜㄴㅈㄷㄱ 10.244.1.7"] {
        assert_eq!(of(text), answer("10.244.1.7"), "{text}");
    }
    assert_eq!(of("answer ㅎㄱㄷ두"), answer("green"));
    assert_eq!([of("ㅁㅜㄴㅈㄷㄱ ㅎㄱㄷ두"), of("ㅁㅜㄴㅈㄷㄱ 요청")], [answer("green"), answer("요청")]);
    // As it is written: quotes and variables are the answer's own.
    for text in ["$(kubectl get pods | wc -l)", "it's", "a > b", "<none>", ""] {
        assert_eq!(of(&format!("answer {text}")), answer(text));
        assert_eq!(of(&format!("답 {text}")), answer(text));
    }
    assert_eq!(of("answer=5"), shell("answer=5"));
    for text in ["'연습'", "\"진도\" -o json", "\\연습 show", "\\\n연습", "'도움말'", "'다음'", "연'습'"]
    {
        assert_eq!(of(text), shell(text), "{text}");
    }
    assert_eq!(of("도움말"), Line::Help(vec![]));
    assert_eq!(of("햐ㅜㅅ"), shell("햐ㅜㅅ"));
    assert_eq!(of("혀ㅗㅎ"), shell("혀ㅗㅎ"));
    assert_eq!(of("b"), Line::Letter('b', "b".into()));
    assert_eq!(of("ㅊ"), Line::Letter('c', "ㅊ".into()));
    assert_eq!(of("b x"), shell("b x"));
    assert_eq!(of("next | cat"), shell("next | cat"));
}
