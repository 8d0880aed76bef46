//! Images, and what a container is told of its node.

use super::*;

#[test]
fn another_image_does_not_wait_for_the_back_off_of_the_one_before() {
    with_mounts(|crew, dir| async move {
        let api = Scripted::new(|asked| stored(asked, "6")).await;
        let image = |image: &str, revision: &str| {
            let mut pod = pod(json!({"image": image}), json!({}));
            pod["metadata"]["resourceVersion"] = revision.into();
            pod
        };
        let world = World::new(&crew, api, dir, image("misspelt", "5"));
        world.runtime.forget_image("misspelt");
        for _ in 0..2 {
            assert!(matches!(world.look().await.unwrap(), Outcome::After(_)), "it is pulled again later");
        }
        assert_eq!((world.starts("a"), world.starts("b")), (0, 1));
        world.kubelet.pods.tell_of(read(image("nginx", "7")));
        world.look().await.unwrap();
        assert_eq!(world.starts("a"), 1);
    });
}

/// The look at whether it is there refuses it, before any pull.
#[test]
fn a_malformed_image_name_is_told_and_keeps_no_other_container_from_its_start() {
    for policy in ["IfNotPresent", "Always", "Never"] {
        with_mounts(move |crew, dir| async move {
            let api = Scripted::new(|asked| stored(asked, "6")).await;
            let malformed = json!({"image": "a b", "imagePullPolicy": policy});
            let world = World::new(&crew, api, dir, pod(malformed, json!({})));
            assert!(matches!(world.look().await.unwrap(), Outcome::After(_)), "it is looked at again");
            assert_eq!((world.starts("a"), world.starts("b")), (0, 1));
            let told = world.written().unwrap();
            let waiting = &told["containerStatuses"][0]["state"]["waiting"];
            let parse = r#"couldn't parse image name "a b": invalid reference format"#;
            let why = format!("Failed to apply default image tag \"a b\": {parse}");
            assert_eq!(*waiting, json!({"reason": "InvalidImageName", "message": why}), "{told}");
            assert_eq!(world.api.event("InspectFailed").await, why);
            assert_eq!(world.api.event("Failed").await, "Error: InvalidImageName");
        });
    }
}
