"""What the network between coordinator and sites needs: ports, proxies, dates of certificates."""
