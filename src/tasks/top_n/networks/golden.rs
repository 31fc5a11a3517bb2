//! Networks against tensors of PyTorch Geometric: outputs, losses and every gradient, in 64 bits.

use std::collections::HashMap;

use super::{
    contrast::{bpr_weights, compare},
    views::{Numbers, Origin, ViewGcn},
    *,
};
use crate::{
    nn::{
        Device, Kind, Tensor, attention, composite,
        graph::Graph,
        loss::{self, Batch, Parts, Weights, loss, regularise},
        network::{Network, Views},
        propagate::propagate_tensor,
        tensors::{floats, one_thread, slice, tensor_of},
    },
    tasks::top_n::models::{
        gat::{GAT_PARAMS, Gat, GatShape},
        lightgcn::LightGcn,
        ngcf::Ngcf,
        p4r::{Fusion, P4r, P4rShape, P4rText, Pooling},
        review_gnn::{
            BprWeight, LayersScored, Mse, Normalisation, REVIEW_GNN_PARAMS, ReviewGnn,
            ReviewGnnShape,
        },
    },
};

type Golden = HashMap<String, Tensor>;

fn golden(name: &str) -> Golden {
    one_thread();
    let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn numbers(golden: &Golden, name: &str) -> Vec<u32> {
    let values: Vec<i64> = golden[name].reshape(-1).try_into().unwrap();
    values.into_iter().map(|value| value as u32).collect()
}

/// Both directions of the user-item edges, with their attributes where there are some.
fn graph(golden: &Golden, self_loops: bool) -> Graph {
    let index: Vec<i64> = golden["edge_index"].reshape(-1).try_into().unwrap();
    let n = index.len() / 2;
    let attributes: Vec<f64> = match golden.get("edge_attr") {
        Some(attributes) => attributes.reshape(-1).try_into().unwrap(),
        None => vec![1.0; n],
    };
    let edges: Vec<(u32, u32, f32)> =
        (0..n).map(|at| (index[at] as u32, index[n + at] as u32, attributes[at] as f32)).collect();
    Graph::new(29, &edges, self_loops)
}

fn batch(golden: &Golden) -> Batch {
    Batch {
        users: numbers(golden, "pos_user"),
        positives: numbers(golden, "pos_item"),
        negatives: numbers(golden, "neg_item"),
    }
}

fn close(name: &str, ours: &Tensor, theirs: &Tensor) {
    let theirs = theirs.reshape(ours.size());
    let off = f64::try_from((ours - theirs).abs().max()).unwrap();
    assert!(off < 1e-8, "{name}: off by {off:e}");
}

fn number(golden: &Golden, name: &str) -> f64 {
    f64::try_from(golden[name].reshape(-1).get(0)).unwrap()
}

fn weighted(graph: Graph) -> Graph {
    graph.normalise_symmetric()
}

#[test]
fn lightgcn_equals_the_reference() {
    let golden = golden("lightgcn");
    let mut network = LightGcn::new(weighted(graph(&golden, false)), 3, golden["x0"].copy());
    let out = network.forward(None);
    close("out", &out, &golden["out"]);
    let batch = batch(&golden);
    let (parts, grad) = loss(&out, &batch, Weights::BPR);
    assert!((parts.bpr - number(&golden, "bpr")).abs() < 1e-8);
    network.backward(&grad);
    let nodes = &mut network.params()[0];
    let mut grad = nodes.grad.contiguous();
    let sum = regularise(&nodes.value, &mut grad, &batch, 1e-4);
    assert!((sum - number(&golden, "reg")).abs() < 1e-8);
    assert!((parts.bpr + 1e-4 * sum - number(&golden, "loss")).abs() < 1e-8);
    close("grad.x0", &grad, &golden["grad.x0"]);
}

#[test]
fn ngcf_equals_the_reference() {
    let golden = golden("ngcf");
    let weights = (0..12).map(|at| {
        let name = ["w1", "b1", "w2", "b2"][at % 4];
        golden[&format!("param.{name}.{}", at / 4)].copy()
    });
    let graph = weighted(graph(&golden, false));
    let mut network = Ngcf::new(graph, golden["x0"].copy(), weights.collect());
    let out = network.forward(None);
    close("out", &out, &golden["out"]);
    let (parts, grad) = loss(&out, &batch(&golden), Weights::BPR);
    assert!((parts.bpr - number(&golden, "bpr")).abs() < 1e-8);
    network.backward(&grad);
    for param in network.params() {
        let name = if param.name == "nodes" { "x0" } else { &param.name };
        close(name, &param.grad, &golden[&format!("grad.{name}")]);
    }
}

/// Our names of a layer's parameters as PyTorch Geometric's.
fn their_name(layer: usize, name: &str) -> String {
    let (place, name) = match name.split_once('.') {
        Some(("norm", name)) => ("norms", name.to_owned()),
        Some(("res", name)) => ("res", name.to_owned()),
        _ => ("convs", name.to_owned()),
    };
    format!("{place}.{layer}.{name}")
}

#[test]
fn gatv2_equals_the_reference() {
    let golden = golden("gatv2");
    let shape = |heads, projects| GatShape { heads, channels: 8, projects };
    let shapes = vec![shape(4, true), shape(4, false), shape(1, true)];
    let weights = shapes.iter().enumerate().map(|(layer, shape)| {
        let count = if shape.projects { 11 } else { 9 };
        let names = GAT_PARAMS[..count].iter();
        names.map(|name| golden[&format!("param.{}", their_name(layer, name))].copy()).collect()
    });
    let weights = weights.collect();
    let mut network =
        Gat::new(graph(&golden, true), shapes, golden["param.x"].copy(), None, weights);
    let out = network.forward(None);
    close("out", &out, &golden["out"]);
    let (parts, grad) =
        loss(&out, &batch(&golden), Weights { bpr: 5.0, cosine: 2.0, cross_entropy: 0.0 });
    assert!((parts.bpr - number(&golden, "bpr")).abs() < 1e-8);
    assert!((parts.cosine - number(&golden, "cosine")).abs() < 1e-8);
    let total = 5.0 * parts.bpr + 2.0 * parts.cosine;
    assert!((total - number(&golden, "loss")).abs() < 1e-8);
    network.backward(&grad);
    let mut compared = 0;
    for param in network.params() {
        let name = match param.name.split_once('.') {
            Some((layer, name)) => their_name(layer.parse().unwrap(), name),
            None => "x".into(),
        };
        close(&name, &param.grad, &golden[&format!("grad.{name}")]);
        compared += 1;
    }
    assert_eq!(compared, golden.keys().filter(|name| name.starts_with("grad.")).count());
}

const USERS: usize = 12;

#[test]
fn p4r_equals_the_reference() {
    let golden = golden("p4r");
    let nodes = batch(&golden);
    for (fusion, fusion_name) in [
        (Fusion::Paper, "paper"),
        (Fusion::Init, "init"),
        (Fusion::Concat, "concat"),
        (Fusion::Paper, "none"),
    ] {
        for (pooling, pooling_name) in [(Pooling::Sum, "sum"), (Pooling::Mean, "mean")] {
            let at = format!("{fusion_name}.{pooling_name}");
            let of = |name: &str| golden[&format!("{at}.{name}")].copy();
            let mut items = of("param.items");
            if fusion == Fusion::Concat {
                items = Tensor::cat(&[&items, &items.zeros_like()], 1);
            }
            let text = (fusion_name != "none").then(|| P4rText {
                vectors: golden["text"].copy(),
                weight: of("param.project.weight"),
                bias: of("param.project.bias"),
            });
            let shape =
                P4rShape { n_users: USERS, layers: 2, alpha: 0.8, beta: 1.7, fusion, pooling };
            let start = Tensor::cat(&[of("param.users"), items], 0);
            let mut network = P4r::new(weighted(graph(&golden, false)), shape, start, text);
            let out = network.forward(None);
            close(&format!("{at}: out"), &out, &of("out"));
            let (parts, grad) = loss(&out, &nodes, Weights::BPR);
            assert!((parts.bpr - number(&golden, &format!("{at}.loss"))).abs() < 1e-8, "{at}");
            network.backward(&grad);
            let of_nodes = network.params()[0].grad.copy();
            close(&format!("{at}: users"), &of_nodes.narrow(0, 0, USERS as i64), &of("grad.users"));
            let theirs = of("grad.items");
            let of_items = of_nodes.narrow(0, USERS as i64, 29 - USERS as i64);
            let own = of_items.narrow(1, 0, theirs.size()[1]);
            close(&format!("{at}: items"), &own.contiguous(), &theirs);
            for param in &network.params()[1..] {
                close(
                    &format!("{at}: {}", param.name),
                    &param.grad,
                    &of(&format!("grad.{}", param.name)),
                );
            }
        }
    }
}

#[test]
fn review_gnn_equals_the_reference() {
    let golden = golden("reviewgnn");
    let nodes = batch(&golden);
    let pairs: Vec<(u32, u32)> =
        numbers(&golden, "review_pairs").chunks(2).map(|pair| (pair[0], pair[1])).collect();
    let edges = numbers(&golden, "edge_index");
    let half = edges.len() / 4;
    let (users, items) = (&edges[..half], &edges[2 * half..3 * half]);
    let purchases: Vec<(u32, u32)> =
        users.iter().zip(items).map(|(user, item)| (*user, item - USERS as u32)).collect();
    let mut compared = 0;
    for (normalisation, norm) in
        [(Normalisation::Neighbour, "neighbour"), (Normalisation::Symmetric, "symmetric")]
    {
        for (mse, pooling, name) in [
            (Some(Mse::Product), LayersScored::Last, "product.last"),
            (Some(Mse::Product), LayersScored::Sum, "product.sum"),
            (Some(Mse::Ends), LayersScored::Last, "ends.last"),
            (Some(Mse::Off), LayersScored::Last, "off.last"),
            (None, LayersScored::Last, "none.last"),
        ] {
            let at = format!("{norm}.{name}");
            let of = |name: &str| golden[&format!("{at}.{name}")].copy();
            let shape = ReviewGnnShape {
                n_users: USERS,
                n_items: 29 - USERS,
                normalisation,
                pooling,
                mse: mse.unwrap_or_default(),
                bpr_share: BprWeight::Fixed(0.7),
            };
            let count = if mse.is_some() { 5 } else { 2 };
            let names = REVIEW_GNN_PARAMS[..count].iter();
            let weights = names.map(|name| of(&format!("param.{name}"))).collect();
            let reviews = mse.map(|_| (golden["texts"].copy(), pairs.clone()));
            let mut network =
                ReviewGnn::new(shape, &purchases, of("param.nodes"), weights, reviews);
            close(&format!("{at}: out"), &network.forward(None), &of("out"));
            for param in network.params() {
                let _ = param.value.set_requires_grad(true);
            }
            let out = network.differentiable(None);
            let (mut total, parts) = loss::differentiable(&out, &nodes, Weights::BPR);
            assert!((parts.bpr - number(&golden, &format!("{at}.bpr"))).abs() < 1e-8, "{at}");
            assert_eq!(network.bpr_share().is_some(), golden.contains_key(&format!("{at}.mse")));
            if network.bpr_share().is_some() {
                let mse = network.alignment(&out, &nodes).unwrap();
                close(&format!("{at}: mse"), &mse.reshape([1]), &of("mse"));
                total = total * 0.7 + mse * 0.3;
            }
            close(&format!("{at}: loss"), &total.reshape([1]), &of("loss"));
            let values: Vec<&Tensor> = network.params().iter().map(|param| &param.value).collect();
            let grads = Tensor::run_backward(&[total], &values, false, false);
            for (param, grad) in network.params().iter().zip(grads) {
                close(
                    &format!("{at}: {}", param.name),
                    &grad,
                    &of(&format!("grad.{}", param.name)),
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, golden.keys().filter(|name| name.contains(".grad.")).count());
}

/// What runs on a GPU, run in main memory, against the kernels, in 32 bits.
#[test]
fn the_path_of_the_gpu_gives_the_same_as_the_kernels() {
    let golden = golden("gatv2");
    let graph = weighted(graph(&golden, true));
    let random = |rows: usize, columns: usize, seed: u64| {
        crate::nn::start::normal(seed, 0, &[rows, columns], 0.7)
    };
    let close = |what: &str, a: &Tensor, b: &Tensor| {
        let off = f64::try_from((a - b).abs().max()).unwrap();
        assert!(off < 1e-4, "{what}: off by {off:e}");
    };
    let (x, base) = (random(29, 80, 1), random(29, 80, 2));
    close(
        "propagate",
        &propagate_tensor(&graph, &x, Some(&base)),
        &composite::propagate(&graph, &x, Some(&base)),
    );
    for (heads, channels) in [(4, 16), (1, 64), (2, 128)] {
        let width = heads * channels;
        let parts =
            [random(29, width, 3), random(29, width, 4), random(1, width, 5), random(1, width, 6)];
        let parts = parts.map(|part| part.set_requires_grad(true));
        let [left, right, attention, edge] = &parts;
        let theirs = composite::attend(&graph, heads as i64, left, right, attention, edge);
        let grad = random(29, width, 7);
        let grads =
            Tensor::run_backward(&[(&theirs * &grad).sum(None::<Kind>)], &parts, false, false);
        let plain = parts.each_ref().map(Tensor::detach);
        let inputs = attention::Inputs {
            graph: &graph,
            heads,
            channels,
            left: slice::<f32>(&plain[0]),
            right: slice(&plain[1]),
            attention: slice(&plain[2]),
            edge: slice(&plain[3]),
        };
        let ours = attention::forward(&inputs);
        let tensor = |values: &[f32], like: &Tensor| {
            tensor_of(values, &[values.len()], Device::Cpu).reshape(like.size())
        };
        close("attention", &tensor(&ours.out, left), &theirs.detach());
        let back = attention::backward(&inputs, &ours, slice(&grad));
        for (what, ours, theirs) in [
            ("left", &back.left, &grads[0]),
            ("right", &back.right, &grads[1]),
            ("attention's vector", &back.attention, &grads[2]),
            ("edge's vector", &back.edge, &grads[3]),
        ] {
            close(what, &tensor(ours, theirs), theirs);
        }
    }
    let embeddings = random(29, 32, 8);
    let weights = Weights { bpr: 5.0, cosine: 2.0, cross_entropy: 0.0 };
    let (ours, our_grad) = loss(&embeddings, &batch(&golden), weights);
    let (theirs, their_grad) = crate::nn::loss::composite(&embeddings, &batch(&golden), weights);
    let near =
        |a: Parts, b: Parts| (a.bpr - b.bpr).abs() < 1e-5 && (a.cosine - b.cosine).abs() < 1e-5;
    assert!(near(ours, theirs), "{ours:?} {theirs:?}");
    close("loss", &our_grad, &their_grad);
}

/// RecBole adds 1e-7 to degrees.
fn recbole_scales(mut graph: Graph) -> Graph {
    let degrees = graph.pointers.windows(2).map(|ends| (ends[1] - ends[0]) as f64);
    graph.scales = degrees.map(|degree| 1.0 / (degree + 1e-7).sqrt()).collect();
    graph
}

const GOLDEN_USERS: usize = 12;

/// Outputs, losses and the gradient of a network with views, with keys that begin with `of`.
fn contrasted(
    golden: &Golden,
    of: &str,
    mut network: ViewGcn,
    contrast: &Contrast,
    regularization: f64,
) {
    let batch = batch(golden);
    let compute_all: [&[bool]; 2] = [&[], &{
        let mut rows = vec![false; 29];
        let nodes = batch.users.iter().chain(&batch.positives).chain(&batch.negatives);
        nodes.for_each(|node| rows[*node as usize] = true);
        rows
    }];
    for (at, rows) in compute_all.into_iter().enumerate() {
        // Gradients of all nodes' views need all rows.
        if at == 1 && contrast.among == Among::All {
            continue;
        }
        let encoded = network.encode(1, rows);
        let by_autograd = network.encode_differentiable(1);
        for (name, ours, twin) in [
            ("out", &encoded.embeddings, &by_autograd.embeddings),
            ("first", &encoded.first, &by_autograd.first),
            ("second", &encoded.second, &by_autograd.second),
        ] {
            close(&format!("{of}{name}"), twin, &golden[&format!("{of}{name}")]);
            if rows.is_empty() {
                close(&format!("{of}{name}"), ours, &golden[&format!("{of}{name}")]);
            }
        }
        let weights = bpr_weights(Weights::BPR, contrast, batch.users.len());
        let (parts, grads) = compare(&encoded, &batch, GOLDEN_USERS, weights, contrast);
        network.pull(grads, rows);
        let own = &mut network.params()[0];
        let mut grad = own.grad.contiguous();
        let sum = regularise(&own.value, &mut grad, &batch, regularization);
        let near = |name: &str, ours: f64| {
            let theirs = number(golden, &format!("{of}{name}"));
            assert!((ours - theirs).abs() < 1e-8, "{of}{name}: {ours} {theirs}");
        };
        near("bpr", weights.bpr * parts.bpr);
        near("contrast", parts.contrast);
        let total =
            weights.bpr * parts.bpr + contrast.weight * parts.contrast + regularization * sum;
        near("loss", total);
        close(&format!("{of}grad.x0"), &grad, &golden[&format!("{of}grad.x0")]);
    }
}

#[test]
fn sgl_equals_recbole() {
    let golden = golden("sgl");
    let graph = recbole_scales(weighted(graph(&golden, false)));
    let contrast = Contrast {
        weight: 0.05,
        temperature: 0.5,
        among: Among::All,
        anchors: Anchors::Positives,
        reduction: Reduction::Sum,
    };
    for (of, n_graphs) in [("ED.", 1), ("ND.", 1), ("RW.", 3)] {
        let origin = Origin::Graphs { dropped: Dropped::Edges, share: 0.1 };
        let mut network = ViewGcn::new(graph.clone(), 3, origin, golden["x0"].copy());
        network.graphs = [0, 1].map(|view| {
            let of_view = (0..n_graphs).map(|layer| {
                let kept = &golden[&format!("{of}kept.{view}.{layer}")];
                let pairs: Vec<i64> = kept.reshape(-1).try_into().unwrap();
                let pairs: Vec<(u32, u32)> =
                    pairs.chunks(2).map(|pair| (pair[0] as u32, pair[1] as u32)).collect();
                recbole_scales(graph.keep(|user, item| pairs.contains(&(user, item))))
            });
            of_view.collect()
        });
        contrasted(&golden, of, network, &contrast, 0.0);
    }
}

fn with_given_noise(golden: &Golden, origin: Origin) -> ViewGcn {
    let graph = weighted(graph(golden, false));
    let mut network = ViewGcn::new(graph, 3, origin, golden["x0"].copy());
    let of_view = |view: usize| {
        (0..3).map(|layer| floats(&golden[&format!("noise.{view}.{layer}")])).collect()
    };
    network.numbers = Numbers::Given(vec![of_view(0), of_view(1)]);
    network
}

#[test]
fn simgcl_equals_the_equations_in_pytorch() {
    let golden = golden("simgcl");
    let contrast = Contrast {
        weight: 0.5,
        temperature: 0.2,
        among: Among::Batch,
        anchors: Anchors::Distinct,
        reduction: Reduction::Mean,
    };
    let network = with_given_noise(&golden, Origin::Noise { length: 0.1 });
    contrasted(&golden, "", network, &contrast, 1e-4);
}

#[test]
fn xsimgcl_equals_the_equations_in_pytorch() {
    let golden = golden("xsimgcl");
    let contrast = Contrast {
        weight: 0.2,
        temperature: 0.15,
        among: Among::Batch,
        anchors: Anchors::Distinct,
        reduction: Reduction::Mean,
    };
    for layer in [1, 2, 3] {
        let network = with_given_noise(&golden, Origin::Layer { length: 0.2, layer });
        contrasted(&golden, &format!("{layer}."), network, &contrast, 1e-4);
    }
}
