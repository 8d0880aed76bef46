use super::*;

#[test]
fn scripts_are_adapted() {
    for (script, wanted) in [
        ("/a/{s/a/b/}", "/a/{s/a/b/;}"),
        ("1,/x/I{/a/!{s/a/b/g }}", "1,/x/I{/a/!{s/a/b/g;}}"),
        ("p # why\ns,a,#, # it's\n$!d;# c", "p\ns,a,#,\n$!d;# c"),
        ("#n\n/a/ {\n y/a/}/ ;q 5 # c\n}", "#n\n/a/ {\n y/a/}/;q 5 \n}"),
        ("a s/a/b/}\ni\\\nx # y\\\n}\ns/\\$/x/", "a s/a/b/}\ni\\\nx # y\\\n}\ns/[$]/x/"),
        (":a; s/a/b/;ta # c\nr f # g\nbend }", ":a; s/a/b/;ta\nr f # g\nbend}"),
        ("b # c\n/a/{t # }\n}:#a", "b \n/a/{t \n}:#a"),
        ("v;1{v 4.2 # c\nv}", "y/x/x/;1{y/x/x/\ny/x/x/}"),
        ("/a/{};1{ {p};\n}", "/a/{y/x/x/;};1{ {p};\n}"),
        ("l;l 5 ;/a/{l0}", "l 70;l 5;/a/{l 1000000000}"),
    ] {
        assert_eq!(adapted_script(script, false, LINE_LENGTH).0, wanted, "{script}");
    }
}

#[test]
fn lines_of_l_have_the_length_of_the_option() {
    for (line, wanted) in [
        ("sed l", "l 70"),
        ("sed -l 5 l", "l 5"),
        ("sed l -nl9", "l 9"),
        ("sed --length=0 l", "l 1000000000"),
        ("sed --length 7 l", "l 7"),
        ("sed -l x l", "l 70"),
    ] {
        let call = adapt_arguments(line.split(' ').map(OsString::from).collect());
        assert!(call.args.contains(&OsString::from(wanted)), "{line}: {:?}", call.args);
    }
}

#[test]
fn back_references_need_utf_8() {
    let given = |lang: &'static str| move |name: &str| (name == "LANG").then(|| lang.to_string());
    for (lang, refers, wanted) in [
        ("", true, Some("C.UTF-8")),
        ("", false, None),
        ("POSIX", true, Some("C.UTF-8")),
        ("ko_KR.UTF-8", true, None),
        ("ko_KR.eucKR", false, Some("C")),
    ] {
        assert_eq!(needed_locale(refers, given(lang)), wanted, "{lang} {refers}");
    }
}

#[test]
fn only_scripts_are_adapted() {
    for (line, wanted) in [
        ("sed p#|p#", "sed p|p#"),
        ("sed -n|-e|p#|-ep#|p#", "sed -n|-e|p|-ep|p#"),
        ("sed -nep#|--expression=p#|--expr|p#", "sed -nep|--expression=p|--expr|p"),
        ("sed -f|p#|p#", "sed -f|p#|p#"),
        ("sed -i.e#|-l|5#|--|p#|p#", "sed -i.e#|-l|5#|--|p|p#"),
        ("sed -ne|a\\|-e|p#|-e|p#", "sed -ne|a\\|-e|p#|-e|p"),
        ("sed s/\\<a//|-E", "sed s/x{0}\\<a//|-E"),
        ("sed -ri|s/\\<a//", "sed -ri|s/x{0}\\<a//"),
        ("sed", "sed"),
    ] {
        let words = |line: &str| {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let rest = rest.split('|').filter(|word| !word.is_empty());
            [name].into_iter().chain(rest).map(OsString::from).collect::<Vec<_>>()
        };
        assert_eq!(adapt_arguments(words(line)).args, words(wanted), "{line}");
    }
}

#[test]
fn files_that_cannot_be_read_are_taken_out() {
    let dir = tempfile::tempdir().unwrap();
    let [file, missing] = ["file", "missing"].map(|name| dir.path().join(name).into_os_string());
    std::fs::write(&file, "a").unwrap();
    let words = ["sed", "-i", "-e", "p"].map(OsString::from);
    let given = [&missing, &file, &missing, &OsString::from("-")].map(OsString::clone);
    let mut call = adapt_arguments([&words[..], &given].concat());
    assert_eq!(call.files, [4, 5, 6, 7]);
    let taken = call.take_unreadable();
    let taken: Vec<(&OsString, io::ErrorKind)> = taken.iter().map(|(n, e)| (n, e.kind())).collect();
    assert_eq!(taken, [(&missing, io::ErrorKind::NotFound), (&missing, io::ErrorKind::NotFound)]);
    assert_eq!(call.files, [4, 5]);
    assert_eq!(call.args, [&words[..], &[file, "-".into()]].concat());
}

#[test]
fn a_change_in_place_is_seen() {
    let is_seen = |line: &str| adapt_arguments(line.split(' ').map(OsString::from).collect()).is_in_place;
    assert!(["sed -i p f", "sed -ni.bak p f", "sed p f --in-place"].iter().all(|line| is_seen(line)));
    assert!(["sed p i", "sed -ei", "sed -n p -- -i"].iter().all(|line| !is_seen(line)));
}

#[test]
fn null_data_is_seen() {
    let is_seen = |line: &str| adapt_arguments(line.split(' ').map(OsString::from).collect()).has_null_data;
    assert!(["sed -z p", "sed -nz p", "sed --null-data p", "sed p -zE"].iter().all(|line| is_seen(line)));
    assert!(["sed p z", "sed -i.z p", "sed -ez", "sed p -- -z"].iter().all(|line| !is_seen(line)));
}
