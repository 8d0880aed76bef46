//! /etc/passwd and /etc/group of a container, read without libc: a static glibc would load modules
//! of the container's image.

/// A user of a container, as /etc/passwd has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub name: String,
    pub gid: u32,
    pub home: String,
}

/// Finds the line `name:password:uid:gid:comment:home:shell` of a user. Lines that are not like
/// that are passed over.
pub(crate) fn find(passwd: &str, uid: u32) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, gid, _, home, ..] = fields[..] else { return None };
        let user = || Some(User { name: name.to_string(), gid: gid.parse().ok()?, home: home.to_string() });
        (id.parse() == Ok(uid)).then(user)?
    })
}

/// Groups of a user in one file that are counted; the kernel takes 65536.
const GROUPS_MAX: usize = 1024;

/// Returns the groups `name:password:gid:member,member` that name a user as a member, but for the
/// user's own, which has its name: containerd leaves that out. Lines that are not like that are
/// passed over.
pub(crate) fn groups_of(group: &str, user: &str) -> Vec<u32> {
    let member = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields[..] else { return None };
        let is_member = name != user && members.split(',').any(|member| member == user);
        is_member.then(|| gid.parse().ok())?
    };
    group.lines().filter_map(member).take(GROUPS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_number() {
        let text = "broken\nroot:x:0:0:root:/root:/bin/sh\nnginx:x:101:102::/var/cache/nginx:/bin/false\n";
        let nginx = User { name: "nginx".into(), gid: 102, home: "/var/cache/nginx".into() };
        assert_eq!(find(text, 101), Some(nginx));
        assert_eq!(find(text, 1000), None);
    }

    #[test]
    fn a_users_groups_are_those_that_name_it() {
        let text = "root:x:0:root\nbroken\nmail:x:8:mail,nginx\nweb:x:many:nginx\nnginx:x:102:nginx\ndata:x:33:nginx,app\n";
        assert_eq!(groups_of(text, "nginx"), [8, 33]);
        assert_eq!(groups_of(text, "app"), [33]);
        assert_eq!(groups_of(text, "ngin"), [0; 0]);
    }
}
