//! Ours beside the floor; not part of the tests.
#![allow(clippy::all, clippy::as_conversions)]

use std::time::Instant;

use super::*;
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

mod floor {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package foreshore:host@0.1.0;
            world tool-component {
                import foreshore:progress/progress@0.1.0;
                import foreshore:log/log@0.1.0;
                export foreshore:tool/tool@0.1.0;
            }
        ",
        world: "foreshore:host/tool-component",
    });
}
struct Bare {
    wasi: WasiCtx,
    table: ResourceTable,
}
impl WasiView for Bare {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
impl floor::foreshore::progress::progress::Host for Bare {
    fn report(&mut self, _: f64, _: Option<f64>, _: Option<String>) {}
}
impl floor::foreshore::log::log::Host for Bare {
    fn log(&mut self, _: floor::foreshore::log::log::Level, _: String) {}
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(|a, b| a.partial_cmp(b).unwrap());
    v[v.len() / 2]
}

#[test]
#[ignore]
fn measure() {
    let path = std::env::var("GUEST").unwrap();
    let tool = std::env::var("TOOL").unwrap();
    let args = std::env::var("ARGS").unwrap();
    let bytes = std::fs::read(path).unwrap();
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let n = std::env::var("N").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);

    let mut c = crate::engine::engine_config(&EngineConfig::default(), crate::engine::Purpose::Run);
    c.consume_fuel(false);
    if let Ok(r) = std::env::var("RESV") {
        c.memory_reservation(r.parse::<u64>().unwrap() << 20);
    }
    let engine = wasmtime::Engine::new(&c).unwrap();
    let comp = Component::new(&engine, &bytes).unwrap();
    let mut l = wasmtime::component::Linker::<Bare>::new(&engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut l).unwrap();
    floor::foreshore::progress::progress::add_to_linker::<_, wasmtime::component::HasSelf<Bare>>(
        &mut l,
        |s| s,
    )
    .unwrap();
    floor::foreshore::log::log::add_to_linker::<_, wasmtime::component::HasSelf<Bare>>(
        &mut l,
        |s| s,
    )
    .unwrap();
    let pre = floor::ToolComponentPre::new(l.instantiate_pre(&comp).unwrap()).unwrap();
    let floor_once = || {
        let mut s = wasmtime::Store::new(
            &engine,
            Bare {
                wasi: wasmtime_wasi::WasiCtxBuilder::new().build(),
                table: ResourceTable::new(),
            },
        );
        let g = pre.instantiate(&mut s).unwrap();
        let r = g.foreshore_tool_tool().call_call(&mut s, &tool, &args).unwrap();
        assert!(r.is_ok(), "{r:?}");
    };

    let host = Host::new();
    let comp2 = Component::new(host.sandbox.engine(), &bytes).unwrap();
    let grant: Arc<Grant> = Arc::default();
    let linked = host.sandbox.link(&comp2, &grant).unwrap();
    let ctx_proto = context(&grant, &[]);
    let reference = ctx_proto.component.clone();
    let tool_name: Arc<str> = "test".into();
    let ours_once = || {
        rt.block_on(async {
            let ctx = Arc::new(CallContext {
                call_id: CallId::new(1),
                component: reference.clone(),
                digest: Digest::of(b""),
                tool: tool_name.clone(),
                hints: ToolHints::default(),
                grant: grant.clone(),
                limits: Limits::default(),
                observer: None,
                meter: Meter::default(),
                denials: Denials::default(),
            });
            let r = linked.call(ctx, &tool, &args).await;
            assert!(r.result.is_ok(), "{:?}", r.result);
            r.usage
        })
    };
    let (mut f, mut o) = (vec![], vec![]);
    for _ in 0..9 {
        let t = Instant::now();
        for _ in 0..n {
            floor_once();
        }
        f.push(t.elapsed().as_secs_f64() * 1e6 / n as f64);
        let t = Instant::now();
        let mut u = Default::default();
        for _ in 0..n {
            u = ours_once();
        }
        o.push(t.elapsed().as_secs_f64() * 1e6 / n as f64);
        let _ = u;
    }
    println!("usage {:?}", ours_once());
    let (f, o) = (median(f), median(o));
    println!("floor {f:.2} us  ours {o:.2} us  ratio {:.2}", o / f);
}
