//! Servers and brokers that die, with `kill -9`, and what the members of rooms notice.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::house::{Person, Server};

struct World {
    broker: Broker,
    servers: Vec<Server>,
    _folder: tempfile::TempDir,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start();
    let servers = (0..3).map(|_| Server::start(&broker, folder.path())).collect();
    World { broker, servers, _folder: folder }
}

/// One person on each server, all in one room and in sight of each other.
async fn three(world: &World, room: &str) -> Vec<Person> {
    let mut people = Vec::new();
    for server in &world.servers {
        let person = Person::new("somebody", world.servers[0].address).await;
        person.connect(server.address).await;
        person.join(room).await;
        people.push(person);
    }
    all_see(room, &people.iter().collect::<Vec<_>>()).await;
    people
}

async fn all_see(room: &str, people: &[&Person]) {
    for person in people {
        person.sees(room, people).await;
    }
}

/// Says something and waits until it is acknowledged; how long that took.
async fn chat(person: &Person, room: &str) -> Duration {
    let id = person.chat(room).await.expect("a member may speak");
    person.until("it is acknowledged", |mind| mind.letters[&id].acked.is_some()).await
}

#[tokio::test]
async fn people_on_three_servers_meet_in_one_room() {
    let world = world();
    let people = three(&world, "hall").await;
    for person in &people {
        chat(person, "hall").await;
    }
    for person in &people {
        person.until("three were heard", |mind| mind.heard.len() == 3).await;
    }
    people[0].signal("hall", &people[2].user(), "v=0").await;
    people[2].until("the signal comes", |mind| mind.signals == ["v=0"]).await;
    assert!(people[1].mind.lock().unwrap().signals.is_empty());
    people[1].leave("hall").await;
    people[0].sees("hall", &[&people[0], &people[2]]).await;
}

#[tokio::test]
async fn a_killed_server_takes_its_members_along_for_six_seconds_at_most() {
    let mut world = world();
    let people = three(&world, "hall").await;
    let others = three(&world, "yard").await;
    world.servers[2].kill();
    let killed = Instant::now();
    // Rooms on the other servers notice nothing: nobody waits for the dead one.
    let cell = [&people[0], &people[1]];
    for person in cell {
        person.join("cell").await;
    }
    all_see("cell", &cell).await;
    for _ in 0..20 {
        assert!(chat(&people[0], "cell").await < Duration::from_secs(1));
    }
    people[0].sees("hall", &cell).await;
    people[1].sees("hall", &cell).await;
    others[0].sees("yard", &[&others[0], &others[1]]).await;
    let gone = killed.elapsed();
    assert!(gone < Duration::from_secs(6), "{gone:?}");

    // Those who come back elsewhere are back at once, as themselves.
    people[2].connect(world.servers[0].address).await;
    let back = people[1].sees("hall", &people.iter().collect::<Vec<_>>()).await;
    assert!(back < Duration::from_secs(3), "{back:?}");
    chat(&people[2], "hall").await;
    println!("members of the dead server were gone after {gone:?}, and back after {back:?}");
}

#[tokio::test]
async fn rooms_go_on_without_the_broker_and_agree_when_it_is_back() {
    let mut world = world();
    let people = three(&world, "hall").await;
    let neighbour = Person::new("neighbour", world.servers[1].address).await;
    neighbour.connect(world.servers[0].address).await;
    for person in [&people[0], &neighbour] {
        person.join("cell").await;
    }
    all_see("cell", &[&people[0], &neighbour]).await;
    world.broker.kill();
    for _ in 0..20 {
        assert!(chat(&people[0], "cell").await < Duration::from_secs(1));
    }
    // Long enough for each to believe that it is alone.
    people[0].sees("hall", &[&people[0]]).await;
    people[1].sees("hall", &[&people[1]]).await;
    chat(&people[0], "hall").await;
    neighbour.join("hall").await;
    people[2].leave("hall").await;
    world.broker.restart();
    let back = Instant::now();
    all_see("hall", &[&people[0], &people[1], &neighbour]).await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    println!("rosters agreed {:?} after the broker was back", back.elapsed());
}

#[cfg(unix)]
#[tokio::test]
async fn after_a_partition_rosters_agree_within_five_seconds() {
    let world = world();
    let people = three(&world, "hall").await;
    world.broker.freeze(true);
    people[0].sees("hall", &[&people[0]]).await;
    let newcomer = Person::new("newcomer", world.servers[2].address).await;
    newcomer.connect(world.servers[2].address).await;
    newcomer.join("hall").await;
    newcomer.sees("hall", &[&newcomer, &people[2]]).await;
    world.broker.freeze(false);
    let back = Instant::now();
    all_see("hall", &[&people[0], &people[1], &people[2], &newcomer]).await;
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    println!("rosters agreed {:?} after the partition", back.elapsed());
}

#[tokio::test]
async fn a_session_goes_on_at_another_server_with_what_it_missed() {
    let world = world();
    let people = three(&world, "hall").await;
    people[0].cut().await;
    for _ in 0..5 {
        chat(&people[1], "hall").await;
    }
    people[0].connect(world.servers[1].address).await;
    people[0].until("what was missed comes", |mind| mind.heard.len() == 5).await;
    assert_eq!(people[0].mind.lock().unwrap().resumed, 1);
    chat(&people[2], "hall").await;
    people[0].until("and what comes then", |mind| mind.heard.len() == 6).await;
    all_see("hall", &people.iter().collect::<Vec<_>>()).await;
}
