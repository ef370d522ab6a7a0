"""`jaxgd notebook`: the lesson's numbers, JAX beside PyTorch."""


def notebook() -> None:
    """Print the lesson's numbers, JAX beside PyTorch: one neuron, its loss and gradients."""
    try:
        from torch_ref.notebook import lesson
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'the lesson in PyTorch needs {error.name}: pip install "jaxgd[torch]"', name=error.name
        ) from None

    import jax
    import jax.numpy as jnp

    from jaxgd.cli.terminal import console, numbers_table
    from jaxgd.losses import binary_cross_entropy
    from jaxgd.models import Linear, linear, logistic

    torch = lesson()
    x, y = jnp.array([torch.x]), jnp.array(torch.y)
    params = Linear(w=jnp.array([torch.w]), b=jnp.array(torch.b))

    def loss(params: Linear) -> jax.Array:
        return binary_cross_entropy(logistic(params, x), y)

    value, grad = jax.value_and_grad(loss)(params)
    steps = {
        "z = w x + b": (linear(params, x), torch.z),
        "a = sigmoid(z)": (logistic(params, x), torch.a),
        "loss = BCE(a, y)": (value, torch.loss),
        "dloss/dw": (grad.w[0], torch.grad_w),
        "dloss/db": (grad.b, torch.grad_b),
    }
    grid = numbers_table("", "JAX", "PyTorch", "difference")
    for name, (ours, theirs) in steps.items():
        grid.add_row(name, f"{ours:.4f}", f"{theirs:.4f}", f"{abs(float(ours) - theirs):.1g}")
    screen = console()
    screen.print(f"x = {torch.x:.2f}, w = {torch.w:.2f}, b = {torch.b:.2f}, y = {torch.y:.0f}")
    screen.show(grid)
