//! Scripts, and what dash does with them.

use crate::awk::run;
use crate::{Room, outcome};

/// A script, its output and its status.
type Case = (&'static str, &'static str, i32);

/// Where the scripts use what dash lacks, bash is the reference.
const CASES: &[Case] = &[
    ("echo a; exit 3", "a\n", 3),
    // `$!` is the last process of a pipeline, and the pipeline has ended when all of them have.
    ("sleep 0.1 | sleep 60 & kill $!; wait $!; echo $?", "143\n", 0),
    ("sleep 60 | sleep 60 & kill %1; wait $!; echo $?; kill %1", "143\n", 2),
    ("(sleep 0.1; echo late >f) | sleep 60 & kill $!; wait $!; cat f", "late\n", 0),
    ("cat & wait; echo in | cat | cat & wait $!; echo $?", "in\n0\n", 0),
    // A child in the background does not read the script's input, also where the limit leaves no
    // descriptor above 9. Where it leaves none at all, the child cannot open /dev/null and fails.
    (
        "echo in | { v=; : \"$v\"; ulimit -n 10; { read v; echo \"got=$v\"; } & wait $!; echo $?; }",
        "got=\n0\n",
        0,
    ),
    ("echo in | { v=; : \"$v\"; ulimit -n 0; { read v; echo \"got=$v\"; } & wait $!; echo $?; }", "2\n", 0),
    ("false & while kill -0 $! 2>&-; do :; done; jobs >f; jobs; wc -l <f", "1\n", 0),
    (
        "sleep 0 & p=$!; wait $p; wait $p; echo $?; (exit 3) & p=$!; wait; wait $p; echo $?; (wait $p); echo $?",
        "0\n3\n127\n",
        0,
    ),
    // A child keeps nothing open that a redirection hides: `cat` sees the end.
    (
        "sh -c '(while :; do sleep 1; done) >/dev/null 2>&1 & echo $!' | { read p; cat; kill $p; echo over; }",
        "over\n",
        0,
    ),
    (
        "sh -c '(while :; do sleep 1; done & echo $! >p) >/dev/null 2>&1' | cat; kill $(cat p); echo over",
        "over\n",
        0,
    ),
    (
        "( (echo a; exit 3) >f ); echo $?; cat f; (trap 'echo t' EXIT; { echo b; } >f); cat f",
        "3\na\nt\nb\n",
        0,
    ),
    // Quotes inside `${x:-…}`.
    (
        "y=${x:-'a  b'}; echo \"$y\"; y=${x:-\"a  b\"}; echo \"$y\"; y=\"${x:-'a  b'}\"; echo \"$y\"",
        "a  b\na  b\n'a  b'\n",
        0,
    ),
    // `'` is plain there, also inside further quotes.
    ("echo \"${x:-\"it's\"}\" \"${x:-\"a  'b'\"}\" \"${x:-\"$(echo 'c  d')'\"}\"", "it's a  'b' c  d'\n", 0),
    ("cat <<E\n${x:-\"don't\"}\nE", "don't\n", 0),
    ("echo hi >${x:-'f g'}; cat 'f g'; case 'a b' in ${x:-'a b'}) echo fits;; esac", "hi\nfits\n", 0),
    ("case ${x:-'a b'} in 'a b') echo fits;; esac; export z=${x:-'a b'}; echo \"$z\"", "fits\na b\n", 0),
    ("set -- ${x:-'a b'} \"${x:-\"c d\"}\" ${x:-e f}; echo $#", "4\n", 0),
    ("set -- a 'b c'; printf '<%s>' ${x:-$@ d} ${x:-\"$@\" d}", "<a><b><c><d><a><b c><d>", 0),
    ("set -- a 'b c'; printf '<%s>' ${x:-1 $@ d e}f", "<1><a><b><c><d><ef>", 0),
    ("set -- a 'b c'; IFS=:; x=$*; y=$@; z=\"$*\"; IFS=; echo \"$x|$y|$z\"", "a:b c|a b c|a:b c\n", 0),
    // The list of `tar t` is what it has to say, also with `-O`.
    ("mkdir d; tar cf a.tar d; tar tOf a.tar 2>err; tar xvOf a.tar 2>err", "d/\n", 0),
    // A member is stored and named as GNU tar does it.
    (
        "mkdir d; >d/f; tar cvf a.tar ./d d/../d/f 2>&1; echo; tar tf a.tar d; tar tf a.tar ./d/",
        "./d/\n./d/f\ntar: Removing leading `d/../' from member names\nd/../d/f\n\nd/f\n./d/\n./d/f\n",
        0,
    ),
    // A here-document in a `$(…)` in backquotes.
    ("echo `echo $(cat <<'E'\nit's )\nE\n)` end", "it's ) end\n", 0),
    ("printf 'a\\0b\\nc\\0d' | { read x; read -n 2 y; echo \"$x $y\"; cat; }", "ab c\nd", 0),
    // dash has no `-t`. The time of bash and busybox ends also where input does not.
    (
        "read -t 0.1 x </dev/zero; echo $?; echo a >f; read -t 0 x <f; echo \"$? [$x]\"; sleep 1 | { read -t 0 x; echo $?; }",
        "1\n0 []\n1\n",
        0,
    ),
    ("trap 'echo t' USR1; echo a >f; read -t 0 x$(kill -USR1 $$) <f; echo $?", "t\n0\n", 0),
    // As in bash and busybox; in dash the loop goes on.
    (
        "f() { while getopts ab o; do echo $o; [ \"$x\" ] || { x=1; local OPTIND; }; done; }; f -a -b",
        "a\na\nb\n",
        0,
    ),
    // What uutils' sed and grep misread.
    (
        "echo 'a$ b' | sed -e '/a/{s/\\$/x/}' -e 's/\\<b/y/ # why'; echo '^a a' | sed -E 's/\\^(a) \\1\\b/z/'",
        "ax y\nz\n",
        0,
    ),
    ("printf ' #\na\n' | grep -c '^\\s*#'; grep --nosuch x 2>f; echo $?; grep -c clap- f", "1\n2\n0\n", 1),
    // `set -e`. dash has no `((…))`.
    ("set -e; ((1)); if ((0)); then :; fi; ((0)) || echo or; ! ((1)); ((0)); echo no", "or\n", 1),
    ("set -e; if x=$(false; echo no); then echo \"t$x\"; else echo \"f$x\"; fi", "f\n", 0),
    (
        "set -e; f() { false; echo in; }; f || echo no; (false; echo in) && ! f; { false && f; }; (false && f); echo no",
        "in\nin\nin\n",
        1,
    ),
    ("set -e; trap 'false; echo no' USR1; if kill -USR1 $$; then :; fi; echo no", "", 1),
    // What has no commands has status 0, and what has some sees the status of before.
    ("false; eval ''; echo $?; false; eval ' # c'; echo $?; false; x=$(); echo $?", "0\n0\n0\n", 0),
    (
        "echo '# c' >c; : >e; false; . ./c; echo $?; false; . ./e; echo $?; set -v; false; . ./c; echo $?",
        "0\n0\n0\n",
        0,
    ),
    ("set -e; : >e; [ -f no ] || . ./e; [ -f no ] || eval \"$x\"; echo on", "on\n", 0),
    ("false; eval 'echo $?'; false; x=$(echo $?; exit); echo $x; false; x=$(exit); echo $?", "1\n1\n1\n", 0),
    (
        "printf 'false\\n\\n# c\\necho $?\\n' | sh; printf 'set -v\\nfalse\\n\\necho $?\\n' >e; sh ./e",
        "1\n1\n",
        0,
    ),
    // A script without `#!` has a shell of its own.
    (
        "printf 'set -e\\nfalse\\necho no\\n' >s; chmod +x s; if ./s; then echo no; fi; ! ./s && ./s || echo out",
        "out\n",
        0,
    ),
    (
        "printf 'false\\necho \"in$x$y\"\\n' >s; chmod +x s; set -eu; x=no; export y=1; ./s; (exec ./s; echo no)",
        "in1\nin1\n",
        0,
    ),
    ("printf 'kill -TERM $$\\necho no\\n' >s; chmod +x s; ./s; echo $?", "143\n", 0),
    (
        "printf 'break\\necho \"$0 $1 $#\"\\n' >s; chmod +x s; for i in 1 2; do ./s 'a b' c; done",
        "./s a b 2\n./s a b 2\n",
        0,
    ),
    (
        "trap 'echo end' EXIT; printf 'echo in $OPTIND\\n' >s; chmod +x s; OPTIND=3; ./s; exec ./s",
        "in 1\nin 1\n",
        0,
    ),
    ("printf '\\0echo no' >s; chmod +x s; ./s; echo $?", "126\n", 0),
    // Each function has its own `getopts`.
    ("f() { while getopts ab o; do echo $o; done; }; f -a; f -b", "a\nb\n", 0),
    (
        "f() { while getopts ab: o; do echo $o$OPTARG; done; }; set -- -xb 1 -x c; while getopts xb: o; do echo $o$OPTARG; f -ab2; done; shift $((OPTIND - 1)); echo $#$1",
        "x\na\nb2\nb1\na\nb2\nx\na\nb2\n1c\n",
        0,
    ),
    (
        "f() { local OPTIND=1; while getopts ab o; do echo i$o; done; }; while getopts xyz o -xy; do echo $o; f -ab; done | head -n 6",
        "x\nia\nib\ny\nia\nib\n",
        0,
    ),
    (
        "set -- -ab -c; getopts abc o; getopts abc o; echo $o; OPTIND=1; getopts abc o; echo $o; unset OPTIND; getopts abc o; echo $o",
        "b\na\na\n",
        0,
    ),
    ("set -- -ab -c -- d; while getopts abc o; do echo $o; done; echo $o $OPTIND", "a\nb\nc\n? 4\n", 0),
    ("set -- -a; getopts a 1x; echo $?; echo b | { read 1x; echo $?; cat; }", "2\n2\nb\n", 0),
    ("for i in 1 2; do continue 9; done; echo $?; break; for i in 1; do break 0; done; echo no", "0\n", 2),
    ("for i in 1; do continue x; done; echo no", "", 2),
    // A long text takes no longer than its length.
    (
        "x=a; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do x=$x$x; done; y=${x##*b}; z=${x%%b*}; echo ${#y} ${#z}; echo \"${x%%a*}${x##*a}\"",
        "262144 262144\n\n",
        0,
    ),
    (
        "x=a/b.c.d; echo ${x##*.} ${x#*.} ${x%.*} ${x%%.*} ${x/%.*/-} ${x/%[cd]/-} ${x//[!a.]/_} ${x/#?\\//+}",
        "d c.d a/b.c a/b a/b- a/b.c.- a__._._ +b.c.d\n",
        0,
    ),
    (
        "x=abc; echo \"${x/#/p} ${x/%/s} ${x//} ${x/#} ${x//*/y}\"; x=; echo \"${x/#/p} ${x/%/s} ${x/*/a} ${x//*/y} ${x/?/n}|${x/b/n}\"",
        "pabc abcs abc abc y\np s a y |\n",
        0,
    ),
    // Some of the arguments, and a part of each.
    (
        "set -- a 'b c' d; printf '<%s>' x\"${@:2}\"y \"${@:1:1}\" \"${@: -1}\" \"${*:2}\" ${@:2}; set --; echo ${@:1}",
        "<xb c><dy><a><d><b c d><b><c><d>\n",
        0,
    ),
    (
        "set -- a b c; printf '<%s>' \"${@#a}\" \"${*#a}\" \"${@/b/z}\" \"${@:9}\"",
        "<><b><c>< b c><a><z><c>",
        0,
    ),
    (
        "set -- a; set -- \"${@#a}\" \"${@:9}\" \"${*:9}\"; echo $#; set -- \"${@:9}\"; set -- \"$@\" \"${@#a}\"; echo $#",
        "2\n0\n",
        0,
    ),
    ("set -- a b; echo ${@:1:-1}; echo no", "", 2),
    ("let x=1; echo $?", "127\n", 0),
    // The words of strerror(3).
    ("{ echo a >&-; read x <&-; } 2>f; sed 's/.*: //' f", "Bad file descriptor\nBad file descriptor\n", 0),
    // The parser of words opens nothing: no number of the script's is taken, and it needs none.
    ("ulimit -n 4; echo \"a $((1 + 1))\"; x=b; echo \"${x%c}\"", "a 2\nb\n", 0),
    (
        "echo \"a $((1 + 1))\"; { cat <&3; } 2>g; sed 's/.*: //' g; exec 3>f; echo b >&3; exec 3>&-; cat f",
        "a 2\nBad file descriptor\nb\n",
        0,
    ),
    // The input of a job is /dev/null, also where the shell has closed its own.
    ("exec <&-; { (read x; echo $?) & wait; } 2>&1", "1\n", 0),
    // dash takes two digits for a word.
    (
        "(exec 10>f; echo no) 2>g; echo $?; sed 's/.*: //' g; [ -e f ] || echo none",
        "2\nthis shell has descriptors 0 to 9 only\nnone\n",
        0,
    ),
    // Signals whose names are seldom used.
    (
        "trap 'echo bus' BUS; kill -BUS $$; trap 'echo t' SIGTTIN; kill -s TTIN $$; kill -l 135",
        "bus\nt\nBUS\n",
        0,
    ),
    ("[ x = ')' -o a = a ]; echo $?; [ '(' a = a ')' -a b != '(' ]; echo $?", "0\n0\n", 0),
    // An operator without an operand behind it.
    (
        "[ a -a ]; echo $?; [ -n a -a ]; echo $?; [ a -a b -o ]; echo $?; [ a -a -a a ] 2>f; echo $?",
        "1\n1\n0\n2\n",
        0,
    ),
    ("printf 'return 3\\necho no\\n' | sh; echo $?", "3\n", 0),
    // A script's own `$PWD` is no directory.
    (
        "mkdir -p sub; d=$(pwd); PWD=/; cd sub && [ \"$PWD\" = \"$d/sub\" ] && echo in; PWD=/no; [ \"$(pwd)\" = \"$d/sub\" ] && echo in",
        "in\nin\n",
        0,
    ),
    (
        "mkdir -p sub; d=$(pwd); cd sub; unset PWD; cd .. && [ \"$PWD $(pwd)\" = \"$d $d\" ] && echo out",
        "out\n",
        0,
    ),
    ("mkdir -p sub; d=$(pwd); [ \"$(PWD=$d/sub sh -c pwd)\" = \"$d\" ] && echo here", "here\n", 0),
    // `time`, and what it times.
    (
        "time true | (exit 3) 2>f; echo $?; { time -p sleep 0; } 2>f; sed 's/ .*//' f; wc -l <f",
        "3\nreal\nuser\nsys\n3\n",
        0,
    ),
    ("time exit 4", "", 4),
    ("{ time f() { echo in; }; time f; time ! true; echo $?; } 2>f; grep -c real f", "in\n1\n3\n", 0),
    // A list without words is no list of the arguments.
    (
        "set -- a; for i in; do echo no; done; for i in # none\ndo echo no; done; for i\ndo echo $i; done; for i; do echo $i; done",
        "a\na\n",
        0,
    ),
    (
        "f() { for i \\\n in \\\n; do echo no; done; }; f a; ( (for in in; do echo no; done) ); echo \"$(for i in; do echo no; done)\" 'for i in;'",
        " for i in;\n",
        0,
    ),
    // A comment behind `$(` or `;` has quotes and brackets that mean nothing.
    ("x=$( # don't (\necho a; # it's )\n); echo $x \"$( # \"\necho b)\"", "a b\n", 0),
    // dash shows no traps in a subshell, POSIX and bash do.
    (
        "trap 'echo t' USR1; x=$(trap); (trap '' USR2; trap); trap | sed 's/^/in /'; trap - USR1; eval \"$x\"; kill -USR1 $$",
        "trap -- '' USR2\nin trap -- 'echo t' USR1\nt\n",
        0,
    ),
    ("trap 'echo t' EXIT; (trap; trap - EXIT; trap)", "trap -- 'echo t' EXIT\nt\n", 0),
    // dash has no `>&FILE`.
    (
        "{ echo a; echo b >&2; } >&f; cat f; x='g h'; echo c >&\"$x\"; cat 'g h'; echo d 2>&f; echo $?; echo e >&77777777777; echo $?",
        "a\nb\nc\n2\n2\n",
        0,
    ),
    ("echo v | { read -p 'prompt ' x; echo $x; } 2>&1", "v\n", 0),
    ("mkdir -p d/e; echo d//e* .//d/*; echo d*//", "d//e .//d/e\nd//\n", 0),
    // Recursion without end is an error, not the end of the stack.
    ("x='eval \"$x\"'; eval \"$x\"; echo no", "", 2),
    ("echo '. ./again' >again; . ./again; echo no", "", 2),
    ("trap 'kill -USR1 $$' USR1; kill -USR1 $$; echo no", "", 2),
    ("x=$(printf '(%.0s' $(seq 5000)); (: $(($x))) 2>&-; echo $?", "2\n", 0),
    ("(ulimit -s 512; sh -c 'if true; then echo \"$(echo hi)\"; fi')", "hi\n", 0),
    ("echo $(($(seq -s + 1000)))", "500500\n", 0),
    // dash has neither; bash and busybox do.
    ("{ echo a; echo b >&2; } &>f; echo c &>>f; cat f; echo d &>no/f; echo $?", "a\nb\nc\n2\n", 0),
    (
        "x=$RANDOM; [ $x -ge 0 ] && [ $((RANDOM)) -lt 32768 ] && RANDOM=7 && echo $RANDOM $((RANDOM))",
        "7 7\n",
        0,
    ),
    ("set -- $(seq 2000); [ \"$@\" ]; echo $?", "2\n", 0),
    ("echo \"${x:-it's}\" 'a b'; y=\"${x:-don't \"a\"}\"; echo \"$y\"", "it's a b\ndon't a\n", 0),
    ("echo \"$(echo \"${x:-it's}\")\" \"${x:=o'clock}\" $x", "it's o'clock o'clock\n", 0),
    ("echo \"${x:-a   b}\"; y=abc; echo \"${y#'a'}\" \"${y%'c'}\" \"${y/'b'/-}\"", "a   b\nbc ab a-c\n", 0),
    (
        "# this\n# Don't edit\nprintf '%s \"${y:-c  d}\"\\n' 1\necho \"${x:-it's}\"",
        "1 \"${y:-c  d}\"\nit's\n",
        0,
    ),
    ("printf '%s\\n' $'it\\'s' '\"${y:-c  d}\"' \"${x:-it's}\"", "it's\n\"${y:-c  d}\"\nit's\n", 0),
    // Here `#` begins no comment, though it stands behind a bracket.
    ("printf %s $(echo a)#'\n\"${x:-c  d}\"\n'", "a#\n\"${x:-c  d}\"\n", 0),
    (
        "x=1; sleep 60 \"${x:-it's  s}\" & jobs >f; kill $!; sed 's/.*Running *//' f",
        "sleep 60 \"${x:-it's  s}\"\n",
        0,
    ),
    ("(echo \"${x?a  b}\") 2>&1 | sed 's/.*x: //'", "a  b\n", 0),
    // The next job that ends. dash has no `-n`.
    (
        "sleep 60 & (exit 3) & wait -n; echo $?; kill %1; wait -n; echo $?; wait -n; echo $?",
        "3\n143\n127\n",
        0,
    ),
    ("sleep 60 & p=$!; (exit 3) & wait -n %2 $!; echo $?; kill $p", "3\n", 0),
    // A wrong name is an error after the jobs before it have ended.
    ("(sleep 0.2; echo late >f) & wait $! %9; echo $?; cat f", "2\nlate\n", 0),
    ("(sleep 0.2; echo late >f) & wait $! \"\"; echo $?; cat f", "2\nlate\n", 0),
    ("wait abc; echo $?; wait %7; echo $?; wait -x; echo $?; wait --; echo $?", "2\n2\n2\n0\n", 0),
    ("hash no-such; echo $?; f() { :; }; hash -r sh f cd /no; echo $?; hash -x; echo $?", "1\n0\n2\n", 0),
    (
        "d=$(pwd -P); mkdir -p r/a; ln -s r/a l; cd -P l/.. && [ \"$PWD\" = \"$d/r\" ] && echo real",
        "real\n",
        0,
    ),
    ("d=$(pwd); mkdir -p r/a; ln -s r/a l; cd l/.. && [ \"$PWD\" = \"$d\" ] && echo counted", "counted\n", 0),
    ("x=1; set -x; PS4='<$x> '; { echo a; } 2>f; set +x; cat f", "a\n<1> echo a\n", 0),
    // `LINENO` is always set in bash. Another variable that is not set leaves PS4 as it is.
    ("set -ux; PS4='+${LINENO}: '; { echo a; } 2>f; set +x; cat f", "a\n+: echo a\n", 0),
    ("set -ux; PS4='+$nope: '; { echo a; } 2>f; set +x; grep echo f", "a\n+$nope: echo a\n", 0),
    // dash drops the arguments of `.`.
    ("echo 'echo $1 $#' >f; set -- old; . ./f new more; . -- ./f; echo $1", "new 2\nold 1\nold\n", 0),
    // Here busybox is the reference: bash prints `in` twice.
    ("echo 'set -- in' >f; set -- old; . ./f new; echo $1; . ./f; echo $1", "old\nin\n", 0),
    ("hash -r -r -- sh; echo $?; hash -- -r; echo $?", "0\n1\n", 0),
    (
        "x=1; unset -- x; echo \"[$x]\"; export -- a=1; readonly -- b=2; f() { local -- a=3; echo $a; }; f; sh -c 'echo $a'; echo $b",
        "[]\n3\n1\n2\n",
        0,
    ),
    // Here busybox and bash are the reference: in dash the outer value stays.
    (
        "f() { local x; echo \"[$x]\"; x=2; local x; echo $x; sh -c 'echo $x'; }; export x=1; f; echo $x; x=3 f",
        "[]\n2\n2\n1\n[3]\n2\n2\n",
        0,
    ),
    ("unset -x y; echo no", "", 2),
    ("local x=1; echo no", "", 2),
    (
        "f() { command local 1a; echo $?; A=1 local b; }; f; echo $A; f() { local x >/no/f; }; f; echo no",
        "2\n1\n",
        2,
    ),
    // bash has `-v`.
    (
        "printf '%f %#g|%c' 0x10 1 ''; printf 'a%.99999999999999999999d' 1 2>f || echo; wc -l <f",
        "16.000000 1.00000|\0a\n1\n",
        0,
    ),
    (
        "printf 'a%y' 1 2>&-; echo \" $?\"; printf %d 5x 2>&-; echo \" $?\"; printf a% 2>&-; echo \" $?\"",
        "a 2\n5 1\na 2\n",
        0,
    ),
    ("printf -v y %s 5; echo \"$? [$y]\"", "2 []\n", 0),
    ("echo $((2 ** 0)) $((2 ** 10)); echo $((2 ** -1)); echo no", "1 1024\n", 2),
    (
        "command -v -- cd if; echo $?; command -pv cd; command -v -- nosuch; echo $?; command -x; echo $?; command -p -- echo hi; command -V nosuch >f; echo $?",
        "cd\nif\n0\ncd\n127\n2\nhi\n127\n",
        0,
    ),
    // dash keeps no commands of jobs, bash and busybox at a prompt do.
    (
        "sleep 60 & p=$!; sleep 61 & kill %-; wait $p; echo $?; kill '%?61'; wait $!; echo $?; kill %sleep; echo $?",
        "143\n143\n2\n",
        0,
    ),
    // The `)` of a pattern does not end the substitution.
    (
        "echo $(case b in b) echo x;; esac)\ny=\"$(case $# in\n0) echo \"none)\";;\n*) (echo some);;\nesac)\"; echo \"$y\"",
        "x\nnone)\n",
        0,
    ),
    (
        "x=\"$(case a in b) echo y ;; a) echo z ;; esac)\"; echo \"$x ${0:+it's}\"; echo $(echo); (case a in a) echo t;; esac)",
        "z it's\n\nt\n",
        0,
    ),
    ("x=$(case a in a) # it's (\necho c;; esac); echo $x", "c\n", 0),
    // `esac` in place of a pattern ends the `case`, unless it is quoted or behind a bracket.
    (
        "(case a in\na) echo b ;; esac | cat)\n(case a in a) (case b in b) echo c;; esac | cat) ;; esac | cat | cat)\n(case a in a) echo d;; esac | \\\ncat )",
        "b\nc\nd\n",
        0,
    ),
    (
        "for i in esac x; do (case $i in (esac | y) echo in;; 'esac' | x) echo out; esac | cat); done",
        "in\nout\n",
        0,
    ),
    // A here-document in another command.
    ("cat <<E\nit's\nE\nx=\"$(case a in b) echo y ;; a) echo z ;; esac)\"\necho \"$x\"", "it's\nz\n", 0),
    // An empty part of PATH is the working directory.
    (
        "mkdir d; echo 'echo $0' >d/t; cp=$(cat d/t); echo \"$cp\" >h; chmod +x d/t h; P=$PATH; PATH=d:$P t; PATH=:$P; h; PATH=$P::/no; h; PATH=; h; unset PATH; h; command -v h; t; echo $?",
        "d/t\nh\nh\nh\nh\nh\n127\n",
        0,
    ),
    // Also where nsswitch.conf(5) names services that a static program cannot load.
    ("chown nosuch . 2>f; echo $?; id nosuch 2>>f; echo $?; wc -l <f", "1\n1\n2\n", 0),
    ("umask 027; umask -S; umask", "u=rwx,g=rx,o=\n0027\n", 0),
    ("umask 022; umask -- 027; umask; umask -x; echo $?; umask", "0027\n2\n0027\n", 0),
    ("kill -l 15; kill -l 143; kill -l 200; echo $?", "TERM\nTERM\n2\n", 0),
    (
        "umask 022; umask u=rw+x,g=u; umask; umask g=o-w,o-rwx; umask; umask a=X; umask; umask =,u+z; echo $?",
        "0002\n0027\n0666\n2\n",
        0,
    ),
    ("sleep 60 & [ $(jobs -p) = $! ] && kill $(jobs -p); wait $!; echo $?; jobs -x; echo $?", "143\n2\n", 0),
    (
        "sleep 60 & jobs %1 >f; jobs -l $! >>f; [ $(jobs -p %1) = $! ] && echo same; jobs %2; echo $?; kill %1; wc -l <f",
        "same\n2\n2\n",
        0,
    ),
    ("ulimit -c 0; for s in SEGV BUS; do sh -c \"kill -$s \\$\\$; echo no\"; echo $?; done", "139\n135\n", 0),
    ("export v=1; export -n v; sh -c 'echo \"[$v]\"'; echo $v", "[]\n1\n", 0),
    ("unset 1a; echo no", "", 2),
    ("echo \"`echo \\\"a  b\\\"`\" `echo \\\"a\\\"`", "a  b \"a\"\n", 0),
    ("cat <<E\n${x:-it's} ${x:-a  b} ${x:-\"q\"} \"it's\"\nE", "it's a  b q \"it's\"\n", 0),
    (
        "x=$(cat <<E\nit's \"fine\" (really\nE\n); echo \"$x\" \"$(cat <<'E'\nsay \"$y\nE\n)\" ok",
        "it's \"fine\" (really say \"$y ok\n",
        0,
    ),
];

/// Compares what our shell does with what the list says.
pub(crate) fn scripts_do_what_dash_does(room: &Room) {
    for (script, out, code) in CASES {
        // A folder of its own: what an earlier script left is found by the `?` of a later one.
        let work = tempfile::tempdir_in(&room.work).unwrap();
        let outcome = outcome(room.program("sh").args(["-c", script]).current_dir(&work));
        assert_eq!((outcome.out.as_str(), outcome.code), (*out, *code), "{script}\n{}", outcome.err);
    }
}

/// POSIX: an interactive shell ignores SIGQUIT and SIGTERM, what it starts does not.
pub(crate) fn a_conversation_outlives_quit(room: &Room) {
    for signal in ["QUIT", "TERM"] {
        let lines = format!("kill -{signal} $$\necho still\nsh -c 'kill -{signal} $$'\necho $?\n");
        let code = if signal == "QUIT" { 131 } else { 143 };
        let (out, status) = run(room.program("sh"), &["-i"], lines.as_bytes());
        assert_eq!((out, status), (format!("still\n{code}\n"), Some(0)), "{signal}");
    }
}

/// `command: ["busybox", "sleep", "3600"]`, and `kubectl exec box -- busybox --list`.
pub(crate) fn busybox_runs_the_program_that_its_first_argument_names(room: &Room) {
    let run = |words: &[&str]| outcome(room.program("busybox").args(words));
    let ended = run(&["sh", "-c", "echo said; exit 7"]);
    assert_eq!((ended.out.as_str(), ended.code), ("said\n", 7), "{}", ended.err);
    assert_eq!(run(&["busybox", "echo", "-n", "twice"]).out, "twice");
    let unknown = run(&["nonsense", "--list"]);
    assert_eq!((unknown.err.as_str(), unknown.code), ("nonsense: applet not found\n", 127));
    let list = run(&["--list"]);
    assert!(list.code == 0 && list.out.lines().any(|name| name == "ls"), "{list:?}");
    let usage = run(&[]);
    assert!(usage.code == 0 && usage.out.starts_with("Usage: busybox PROGRAM"), "{usage:?}");
}
