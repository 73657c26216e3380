//! Which columns equal a column in every row that matters: what follows from the edges of a model, found once for each column.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::sql::model::NodeId;

/// The nodes that a node reaches, itself first.
#[derive(Debug)]
pub(crate) struct Reach {
    in_order: Vec<NodeId>,
    /// The same, where there are many.
    set: HashSet<NodeId>,
}

/// What is known of the edges so far.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// How many edges: more are added to them, and none is taken away.
    edges: usize,
    next: HashMap<NodeId, Vec<NodeId>>,
    of: HashMap<NodeId, Rc<Reach>>,
}

/// Those among which one is looked for by going through them.
const FEW: usize = 16;

impl Reach {
    pub fn contains(&self, node: &NodeId) -> bool {
        if self.in_order.len() > FEW { self.set.contains(node) } else { self.in_order.contains(node) }
    }

    pub fn iter(&self) -> impl Iterator<Item = &NodeId> {
        self.in_order.iter()
    }
}

impl Reached {
    /// What the node reaches by these edges.
    pub fn of(&mut self, node: NodeId, edges: &[(NodeId, NodeId)]) -> Rc<Reach> {
        if edges.len() != self.edges {
            for (from, to) in edges.iter().skip(self.edges) {
                self.next.entry(*from).or_default().push(*to);
            }
            self.edges = edges.len();
            self.of.clear();
        }
        if let Some(known) = self.of.get(&node) {
            return Rc::clone(known);
        }
        let found = Rc::new(self.find(node));
        self.of.insert(node, Rc::clone(&found));
        found
    }

    fn find(&self, node: NodeId) -> Reach {
        let mut found = Reach { in_order: vec![node], set: HashSet::new() };
        let mut next = 0;
        while let Some(&at) = found.in_order.get(next) {
            next += 1;
            for to in self.next.get(&at).into_iter().flatten() {
                if found.contains(to) {
                    continue;
                }
                found.in_order.push(*to);
                match found.in_order.len() {
                    ..=FEW => {}
                    _ if found.set.is_empty() => found.set.extend(&found.in_order),
                    _ => drop(found.set.insert(*to)),
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_lead_on_in_their_direction_and_new_ones_are_seen() {
        let mut reached = Reached::default();
        let mut edges: Vec<(NodeId, NodeId)> = (0..100).map(|node| (node, node + 1)).collect();
        let of = |reached: &mut Reached, node, edges: &[_]| reached.of(node, edges).iter().copied().collect::<Vec<_>>();
        assert_eq!(of(&mut reached, 97, &edges), [97, 98, 99, 100]);
        assert_eq!(of(&mut reached, 0, &edges), (0..=100).collect::<Vec<_>>());
        assert!(!reached.of(50, &edges).contains(&49) && reached.of(50, &edges).contains(&100));
        edges.push((100, 0));
        let all = reached.of(50, &edges);
        assert!((0..=100).all(|node| all.contains(&node)) && !all.contains(&101));
        assert_eq!(of(&mut reached, 200, &edges), [200]);
    }
}
