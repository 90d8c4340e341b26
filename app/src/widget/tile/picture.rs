//! The picture as three textures and a shader, for the graphics card.
//!
//! An image handle for each frame would be uploaded by iced in the background and never drawn
//! (above 2 MiB) or kept for ever; here the textures of a tile are written in place.

use std::collections::HashMap;
use std::sync::Arc;

use iced::Rectangle;
use iced::wgpu;
use iced::widget::shader::{Pipeline, Primitive, Viewport};
use media::Frame;

use crate::theme;

/// Bytes of the uniform: crop (4), size (2), radius, linear, ring (4); all `f32`.
const VIEW_BYTES: usize = 12 * 4;

/// One tile's picture in one redraw.
#[derive(Debug)]
pub(super) struct Picture {
    /// Which tile: its textures are written again for each new frame.
    pub(super) tile: u64,
    /// Of the frame.
    pub(super) version: u64,
    pub(super) frame: Arc<Frame>,
    /// The part that is seen, as shares of the whole.
    pub(super) crop: Rectangle,
    pub(super) mirrored: bool,
    /// Logical pixels.
    pub(super) radius: f32,
    /// Draw the line of somebody who speaks.
    pub(super) ring: bool,
}

impl Picture {
    fn view(&self, bounds: &Rectangle, scale_factor: f32, linear: bool) -> [u8; VIEW_BYTES] {
        let Rectangle { x, y, width, height } = self.crop;
        let (x, width) = if self.mirrored { (x + width, -width) } else { (x, width) };
        let color = theme::RING_COLOR;
        let values = [
            x,
            y,
            width,
            height,
            bounds.width * scale_factor,
            bounds.height * scale_factor,
            self.radius * scale_factor,
            if linear { 1.0 } else { 0.0 },
            color.r,
            color.g,
            color.b,
            if self.ring { theme::RING * scale_factor } else { 0.0 },
        ];
        let mut bytes = [0; VIEW_BYTES];
        for (to, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(values) {
            *to = value.to_le_bytes();
        }
        bytes
    }
}

impl Primitive for Picture {
    type Pipeline = Pictures;

    fn prepare(
        &self,
        pictures: &mut Pictures,
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        bounds: &Rectangle,
        viewport: &Viewport,
    ) {
        let size = (self.frame.width(), self.frame.height());
        let longest = device.limits().max_texture_dimension_2d;
        if size.0.max(size.1) > longest {
            pictures.tiles.remove(&self.tile);
            return;
        }
        let view = self.view(bounds, viewport.scale_factor(), pictures.linear);
        let kept = pictures.tiles.remove(&self.tile).filter(|textures| textures.size == size);
        let mut textures = kept.unwrap_or_else(|| pictures.textures(device, size));
        textures.used = true;
        if textures.version != Some(self.version) {
            textures.version = Some(self.version);
            let planes = [self.frame.y(), self.frame.u(), self.frame.v()];
            for (texture, plane) in textures.planes.iter().zip(planes) {
                write(queue, texture, &plane);
            }
        }
        if textures.view != view {
            textures.view = view;
            queue.write_buffer(&textures.uniform, 0, &view);
        }
        pictures.tiles.insert(self.tile, textures);
    }

    fn draw(&self, pictures: &Pictures, pass: &mut wgpu::RenderPass<'_>) -> bool {
        if let Some(textures) = pictures.tiles.get(&self.tile) {
            pass.set_pipeline(&pictures.pipeline);
            pass.set_bind_group(0, &textures.group, &[]);
            pass.draw(0..4, 0..1);
        }
        true
    }
}

fn write(queue: &wgpu::Queue, texture: &wgpu::Texture, plane: &media::Plane<'_>) {
    queue.write_texture(
        texture.as_image_copy(),
        plane.data,
        wgpu::TexelCopyBufferLayout {
            offset: 0,
            bytes_per_row: u32::try_from(plane.stride).ok(),
            rows_per_image: None,
        },
        extent(plane.width, plane.height),
    );
}

fn extent(width: u32, height: u32) -> wgpu::Extent3d {
    wgpu::Extent3d { width, height, depth_or_array_layers: 1 }
}

/// The shader, and the textures of every tile that was drawn lately.
pub(super) struct Pictures {
    pipeline: wgpu::RenderPipeline,
    layout: wgpu::BindGroupLayout,
    sampler: wgpu::Sampler,
    /// Whether the target encodes for the screen by itself.
    linear: bool,
    tiles: HashMap<u64, Textures>,
}

struct Textures {
    size: (u32, u32),
    planes: [wgpu::Texture; 3],
    uniform: wgpu::Buffer,
    group: wgpu::BindGroup,
    version: Option<u64>,
    view: [u8; VIEW_BYTES],
    used: bool,
}

impl Pipeline for Pictures {
    fn new(device: &wgpu::Device, _queue: &wgpu::Queue, format: wgpu::TextureFormat) -> Self {
        let layout = bind_group_layout(device);
        Self {
            pipeline: render_pipeline(device, &layout, format),
            layout,
            sampler: device.create_sampler(&wgpu::SamplerDescriptor {
                label: Some("picture sampler"),
                mag_filter: wgpu::FilterMode::Linear,
                min_filter: wgpu::FilterMode::Linear,
                ..wgpu::SamplerDescriptor::default()
            }),
            linear: format.is_srgb(),
            tiles: HashMap::new(),
        }
    }

    /// Frees the textures of tiles that were not drawn: somebody left, or has no picture now.
    fn trim(&mut self) {
        self.tiles.retain(|_, textures| std::mem::take(&mut textures.used));
    }
}

impl Pictures {
    fn textures(&self, device: &wgpu::Device, size: (u32, u32)) -> Textures {
        let chroma = (size.0.div_ceil(2), size.1.div_ceil(2));
        let planes = [size, chroma, chroma].map(|(width, height)| {
            device.create_texture(&wgpu::TextureDescriptor {
                label: Some("picture plane"),
                size: extent(width, height),
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::R8Unorm,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            })
        });
        let uniform = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("picture view"),
            size: VIEW_BYTES as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let views = planes.each_ref().map(|plane| plane.create_view(&Default::default()));
        let resources = [
            uniform.as_entire_binding(),
            wgpu::BindingResource::Sampler(&self.sampler),
            wgpu::BindingResource::TextureView(&views[0]),
            wgpu::BindingResource::TextureView(&views[1]),
            wgpu::BindingResource::TextureView(&views[2]),
        ];
        let entries: Vec<_> = (0..)
            .zip(resources)
            .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("picture"),
            layout: &self.layout,
            entries: &entries,
        });
        Textures { size, planes, uniform, group, version: None, view: [0; VIEW_BYTES], used: false }
    }
}

fn bind_group_layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let plane = wgpu::BindingType::Texture {
        sample_type: wgpu::TextureSampleType::Float { filterable: true },
        view_dimension: wgpu::TextureViewDimension::D2,
        multisampled: false,
    };
    let types = [
        wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Uniform,
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        wgpu::BindingType::Sampler(wgpu::SamplerBindingType::Filtering),
        plane,
        plane,
        plane,
    ];
    let entries: Vec<_> = (0..)
        .zip(types)
        .map(|(binding, ty)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::FRAGMENT,
            ty,
            count: None,
        })
        .collect();
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("picture"),
        entries: &entries,
    })
}

fn render_pipeline(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    format: wgpu::TextureFormat,
) -> wgpu::RenderPipeline {
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some("picture"),
        source: wgpu::ShaderSource::Wgsl(include_str!("picture.wgsl").into()),
    });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("picture"),
        bind_group_layouts: &[layout],
        push_constant_ranges: &[],
    });
    device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
        label: Some("picture"),
        layout: Some(&layout),
        vertex: wgpu::VertexState {
            module: &module,
            entry_point: Some("corner"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            buffers: &[],
        },
        primitive: wgpu::PrimitiveState {
            topology: wgpu::PrimitiveTopology::TriangleStrip,
            ..wgpu::PrimitiveState::default()
        },
        depth_stencil: None,
        multisample: wgpu::MultisampleState::default(),
        fragment: Some(wgpu::FragmentState {
            module: &module,
            entry_point: Some("pixel"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            targets: &[Some(wgpu::ColorTargetState {
                format,
                blend: Some(wgpu::BlendState::ALPHA_BLENDING),
                write_mask: wgpu::ColorWrites::ALL,
            })],
        }),
        multiview: None,
        cache: None,
    })
}
