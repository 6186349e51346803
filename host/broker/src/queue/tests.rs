//! The order of turns, and the bounds.

use super::*;

fn queue(max: usize, max_per_tenant: usize) -> FairQueue<u32> {
    FairQueue::new(QueueConfig { max, max_per_tenant })
}

fn all(queue: &mut FairQueue<u32>) -> Vec<u32> {
    std::iter::from_fn(|| queue.pop()).collect()
}

#[test]
fn tenants_take_turns_however_many_requests_each_has() {
    let mut queue = queue(100, 100);
    for n in 0..4 {
        queue.push("greedy", Priority::Agent, n).expect("room");
    }
    queue.push("modest", Priority::Agent, 10).expect("room");
    queue.push("third", Priority::Agent, 20).expect("room");
    assert_eq!(all(&mut queue), [0, 10, 20, 1, 2, 3]);
}

#[test]
fn the_most_urgent_go_first_and_the_least_urgent_still_go() {
    let mut queue = queue(100, 100);
    queue.push("a", Priority::Background, 99).expect("room");
    for n in 0..20 {
        queue.push("a", Priority::Interactive, n).expect("room");
    }
    let order = all(&mut queue);
    assert_eq!(order[..7], [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(order[7], 99, "the eighth turn is the lowest priority's");
}

#[test]
fn it_holds_no_more_than_its_bounds() {
    let mut queue = queue(3, 2);
    let first = queue.push("a", Priority::Agent, 1).expect("room");
    queue.push("a", Priority::Batch, 2).expect("room");
    assert_eq!(queue.push("a", Priority::Interactive, 3), Err(Full::Tenant));
    queue.push("b", Priority::Agent, 4).expect("room");
    assert_eq!(queue.push("c", Priority::Agent, 5), Err(Full::All));
    assert!(queue.remove("a", Priority::Agent, first));
    assert!(!queue.remove("a", Priority::Agent, first), "they are out already");
    queue.push("c", Priority::Agent, 5).expect("there is room again");
    assert_eq!(queue.len(), 3);
    let mut order = all(&mut queue);
    order.sort_unstable();
    assert_eq!(order, [2, 4, 5]);
    assert_eq!(queue.len(), 0);
}
