//! Stories and posts: what is a copy, what is kept, what is saved.

use super::super::tests::{at, mention};
use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn tell(
    stories: &mut Stories,
    signature: u64,
    known: Option<u64>,
    seconds: i64,
) -> (StoryNumber, Told) {
    let mention = MentionEvent {
        signature,
        ..mention(seconds, seconds, "ACME")
    };
    stories.tell(&mention, 7, known, DAY)
}

#[test]
fn near_texts_are_copies_and_far_ones_are_not() {
    let mut stories = Stories::default();
    let near = u64::MAX >> COPY_DISTANCE;
    assert_eq!(tell(&mut stories, u64::MAX, None, 0), (0, Told::New));
    assert_eq!(tell(&mut stories, near, None, 1), (0, Told::Copy));
    assert_eq!(tell(&mut stories, near >> 1, None, 2), (1, Told::New));
    // The same post again, whatever its text.
    assert_eq!(tell(&mut stories, 0, Some(0), 3), (0, Told::Copy));
    assert_eq!(stories.get(0).unwrap().copies, 2);
}

#[test]
fn only_the_post_that_takes_a_story_back_tells_it_again() {
    let mut stories = Stories::default();
    tell(&mut stories, 0, None, 0);
    stories.get_mut(0).unwrap().retracted_by = Some(mention(5, 0, "ACME").origin.into());
    assert_eq!(tell(&mut stories, 0, None, 4), (0, Told::Copy));
    assert_eq!(tell(&mut stories, 0, None, 5), (0, Told::Again));
    assert_eq!(tell(&mut stories, 0, None, 6), (0, Told::Copy));
}

#[test]
fn a_story_is_known_as_long_as_it_is_told() {
    let mut stories = Stories::default();
    tell(&mut stories, 0, None, 0);
    assert_eq!(tell(&mut stories, 1, None, 80_000), (0, Told::Copy));
    assert_eq!(tell(&mut stories, 1, None, 160_000), (0, Told::Copy));
    assert_eq!(tell(&mut stories, 1, None, 250_000), (1, Told::New));
    stories.forget_before(at(160_001));
    assert_eq!((stories.len(), stories.last_told()), (1, Some(at(250_000))));
}

#[test]
fn stories_of_an_entity_are_bounded_and_the_oldest_go_first() {
    let mut stories = Stories::default();
    // An identity is as good a random number as any.
    let signature = |n: usize| identity(&[&n.to_string()]);
    for n in 0..STORIES_PER_ENTITY + 10 {
        tell(&mut stories, signature(n), None, 0);
    }
    assert_eq!(stories.len(), STORIES_PER_ENTITY);
    assert!(stories.get(9).is_none());
    assert_eq!(
        tell(&mut stories, signature(10), Some(9), 0),
        (10, Told::Copy)
    );
    stories.forget_through(u64::MAX);
    assert_eq!(stories.len(), 0);
}

#[test]
fn posts_are_found_by_their_id_until_they_are_old() {
    let mut posts = Posts::default();
    let (acme, globex) = (EntityId::from("ACME"), EntityId::from("GLOBEX"));
    posts.insert(7, &globex, 1, at(0));
    posts.insert(7, &acme, 2, at(0));
    posts.insert(8, &acme, 3, at(5));
    assert_eq!(posts.insert(7, &acme, 4, at(9)), Some(2));
    assert_eq!(posts.insert(7, &acme, 4, at(8)), None);
    assert_eq!(
        posts.stories(7, None),
        [(acme.clone(), 4), (globex.clone(), 1)]
    );
    let horizon = Some(at(6));
    let found = |posts: &Posts| (posts.stories(7, horizon), posts.story(8, &acme, horizon));
    let before = found(&posts);
    assert_eq!(before, (vec![(acme.clone(), 4)], None));
    assert!(posts.forget(horizon).is_empty());
    assert_eq!(
        found(&posts),
        before,
        "forgotten or not makes no difference"
    );
    assert_eq!((posts.stories.len(), posts.order.len()), (1, 1));
    posts.remove(7, &acme);
    assert_eq!((posts.stories.len(), posts.order.len()), (0, 0));
}

#[test]
fn of_the_posts_of_a_story_the_latest_are_known_and_the_one_it_counts_for() {
    let mut stories = Stories::default();
    tell(&mut stories, 0, None, 0);
    let gone: Vec<_> = (0..POSTS_PER_STORY as u64 + 3)
        .flat_map(|n| stories.note(0, 100 + n, at(n as i64)))
        .collect();
    assert_eq!(gone, [100, 101, 102]);
    assert_eq!(stories.note(0, 7, at(99)), [] as [u64; 0]);
    assert_eq!(stories.posts().count(), 1 + POSTS_PER_STORY);
    assert!(stories.posts().any(|post| post == (7, 0, at(99))));
}

#[test]
fn a_flood_of_posts_pushes_the_oldest_out() {
    let mut posts = Posts::default();
    let acme = EntityId::from("ACME");
    for n in 0..POSTS as u64 + 2 {
        posts.insert(n, &acme, n, at(0));
    }
    assert_eq!(posts.forget(None), [(acme.clone(), 0), (acme.clone(), 1)]);
    assert_eq!(posts.stories.len(), POSTS);
}
