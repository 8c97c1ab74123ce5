"""Networks (plain `nn.Module`) and the thin LightningModules that train them."""
